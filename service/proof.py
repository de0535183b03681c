"""What an engine must do before its bundle is served."""

from service.bundle import Bundle
from service.engine.base import Engine
from service.errors import BundleInvalid
from service.selfcheck import self_check
from service.warmup import warm_up


def prove(bundle: Bundle, engine: Engine, max_batch_size: int) -> None:
    """Run the golden images, and every canvas where that compiles. Raises BundleInvalid; then the engine is closed."""
    try:
        self_check(bundle, engine)
        if engine.compiles_by_shape:
            warm_up(engine, bundle, (1, max_batch_size))
    except Exception as error:
        engine.close()
        if isinstance(error, BundleInvalid):
            raise
        raise BundleInvalid(f"{bundle.root}: engine {engine.name} fails before serving: {error}") from error
