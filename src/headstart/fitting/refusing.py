"""Options that make no sense: with each other, for the data, or on this machine."""

from __future__ import annotations

from headstart.config import FitOptions
from headstart.errors import ConfigError
from headstart.fitting.settle import GRADIENT_STRATEGIES


def refuse_contradictions(options: FitOptions) -> None:
    """Refuse options that go with other values of others only.

    Raises:
        ConfigError: Depths without the probe; views of pictures that are mixed; a learning rate
            given and to be found; several backbones, or weights of one of them, without the ladder
            that races them.
    """
    strategy = options.strategy
    if options.features == "depths" and strategy != "probe":
        raise ConfigError(
            f"--features depths is for the probe, and the strategy is {strategy}. Give "
            "--strategy probe too, or leave --features away."
        )
    # Of the others none has use for both: under auto the probe has the views, and fine-tuning
    # mixes pictures.
    if strategy == "head" and options.views and (options.mixup or options.cutmix):
        raise ConfigError(
            "Mixup and cutmix mix the pictures themselves, anew each epoch, so a head cannot "
            f"learn from --views {options.views} with them. Leave one away, or give --views 0."
        )
    if options.find_lr and options.lr is not None:
        raise ConfigError(
            f"--find-lr finds the learning rate, and --lr {options.lr:g} gives it. Leave one away."
        )
    if not options.racing:
        return
    several = f"--backbone {options.backbone} stands for several, and"
    if strategy != "auto":
        raise ConfigError(
            f"{several} only the ladder races them; the strategy is {strategy}. Leave "
            "--strategy away, or name one backbone: `headstart rank` tells which is best."
        )
    if options.weights not in (None, "random"):
        raise ConfigError(
            f"{several} --weights {options.weights} are those of one. Name it, or leave --weights "
            "away."
        )


def refuse_pointless(options: FitOptions) -> None:
    """Refuse what would have no effect, or no meaning, before anything takes long.

    Raises:
        ConfigError: A control would compare a model with its like, as nothing pretrained is fitted;
            or a refit is asked for where no ladder chooses by validation samples.
    """
    if options.refit is not None and options.strategy != "auto":
        raise ConfigError(
            f"--{'refit' if options.refit else 'no-refit'} is of the ladder, which chooses by the "
            f"validation samples, but --strategy {options.strategy} was asked for. Leave one of "
            "both away."
        )
    if options.control is None:
        return
    if options.strategy in ("scratch", "tfidf") or options.weights == "random":
        is_named = options.strategy in ("scratch", "tfidf")
        why = f"--strategy {options.strategy}" if is_named else "--weights random"
        raise ConfigError(
            f"--control scratch tells what pretrained weights bring, but {why} uses none. Leave "
            "one of both away."
        )


def refuse_format(options: FitOptions, *, device_type: str) -> None:
    """Refuse a precision that nothing can be trained in, before what can be done without.

    Raises:
        ConfigError: float16 on anything but CUDA, where a backbone may learn.
    """
    may_train = options.strategy == "auto" or options.strategy in GRADIENT_STRATEGIES
    if options.precision == "float16" and device_type != "cuda" and may_train:
        raise ConfigError(
            f"--precision float16 needs loss scaling to train, which is only there on CUDA, and "
            f"this is {device_type}. Use bfloat16 or float32, or --strategy probe."
        )


def refuse_other_task(options: FitOptions, task: str, *, has_own_augment: bool = False) -> None:
    """Refuse options that belong to another task than that of the data.

    Args:
        options: As the user gave them.
        task: Of the data.
        has_own_augment: Whether a caller's augmentation comes with them.

    Raises:
        ConfigError: The data is of another task than was asked for, has no such score, no bands to
            choose from, or no masks for an option of masks.
    """
    if options.task not in ("auto", task):
        raise ConfigError(
            f"--task {options.task} was asked for, but the data is for {task}. Leave --task away, "
            "or give data of the other kind; `headstart inspect` tells what it was read as."
        )
    if options.strategy == "tfidf" and task != "text-classification":
        raise ConfigError(
            f"--strategy tfidf weighs the words of texts, but the data is for {task}. Leave "
            "--strategy away, or take probe, which is quick, too."
        )
    for name in ("bands", "units"):
        if getattr(options, name) is not None and task != "semantic-segmentation":
            raise ConfigError(
                f"--{name} is for rasters with masks, but the data is for {task}, which takes "
                f"what is stored as it is. Leave --{name} away."
            )
    for name in ("long", "text_column"):
        if getattr(options, name) is not None and task != "text-classification":
            raise ConfigError(
                f"--{name.replace('_', '-')} is of texts, but the data is for {task}. Leave it "
                "away."
            )
    if options.trust_remote_code and task != "text-classification":
        raise ConfigError(
            f"--trust-remote-code is of models of texts, but the data is for {task}, whose models "
            "bring no code. Leave it away."
        )
    if options.strategy == "contrastive" and task != "text-classification":
        raise ConfigError(
            f"--strategy contrastive is for texts, of which there are few a class, but the data is "
            f"for {task}. Take another strategy, such as probe."
        )
    for name in ("augment", "views", "mixup", "cutmix"):
        if task == "text-classification" and getattr(options, name) not in (None, "none", 0):
            raise ConfigError(
                f"--{name} changes pictures, but the data is for {task}. Leave --{name} away."
            )
    if task == "text-classification" and has_own_augment:
        raise ConfigError(
            f"An augmentation of your own changes pictures, but the data is for {task}. Leave "
            "augment=... away."
        )
    is_of_masks, has_masks = options.monitor == "miou", task == "semantic-segmentation"
    for name in ("decoder", "loss"):
        if getattr(options, name) is not None and not has_masks:
            raise ConfigError(
                f"--{name} is for masks, where each pixel has a class, but the data is for {task}. "
                f"Leave --{name} away."
            )
    if options.refit and has_masks:
        raise ConfigError(
            "--refit is of pictures and texts with labels; what is fine-tuned on masks does not "
            "learn from its validation chips yet. Leave it away."
        )
    if options.balance == "root-weights" and task == "semantic-segmentation":
        raise ConfigError(
            "--balance root-weights is of samples with labels, but the data is for "
            f"{task}. Take --balance weights, which weighs pixels."
        )
    if options.monitor not in (None, "loss", "macro_f1") and is_of_masks != has_masks:
        raise ConfigError(
            f"--monitor {options.monitor} is no score of {task}. Take "
            + ("loss, macro_f1 or miou." if has_masks else "a loss, macro_f1 or an accuracy.")
        )


def without_effect(options: FitOptions, *, strategy: str) -> list[str]:
    """Options that were given and that the strategy does not look at, as typed."""
    unused: list[str] = []
    if strategy not in GRADIENT_STRATEGIES:
        unused += ["epochs", "lr", "find_lr", "layer_decay", "batch_size", "accumulate"]
        unused += ["optimizer", "schedule", "warmup", "weight_decay", "dropout", "hidden"]
        unused += ["label_smoothing", "clip_norm", "ema", "patience", "monitor", "mixup", "cutmix"]
        unused += ["decoder", "loss"]
    if strategy == "contrastive":
        unused += ["dropout", "hidden", "label_smoothing", "patience", "monitor", "workers"]
    if strategy != "probe":
        unused.append("classifier")
    if strategy == "as-is":
        unused += ["augment", "balance"]
    if strategy not in ("probe", "head"):
        unused.append("views")
    if strategy in ("head", "lora"):
        unused.append("layer_decay")
    if strategy == "probe" and not options.views:
        unused.append("augment")
    if options.balance == "sampling" and strategy in ("probe", "contrastive", "tfidf"):
        unused.append("balance")
    if options.balance != "sampling" and strategy == "probe" and options.classifier == "knn":
        unused.append("balance")
    if strategy == "scratch":
        unused.append("weights")
    if strategy == "tfidf":
        unused += ["backbone", "features", "weights", "long", "precision", "workers", "budget"]
    if strategy == "as-is" or (strategy == "probe" and not options.views):
        unused.append("workers")
    given = options.model_fields_set
    return ["--" + name.replace("_", "-") for name in unused if name in given]
