"""One process that listens, loads beside that, and stops without dropping what it began.

On SIGTERM the service is not ready at once, answers for `drain_s` more, with `Connection: close`, and then closes the
socket and waits for what is in flight. Whoever balances the load has that long to notice.
"""

import gc
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from panther_pipeline.cards.keys import read_card_key
from panther_pipeline.serving.app import WORK, guard
from panther_pipeline.serving.config import ServingConfig, read_api_key
from panther_pipeline.serving.doorkeeper import Doorkeeper
from panther_pipeline.serving.logs import SERVICE_LOGGER, configure_logging
from panther_pipeline.serving.protocol import guard_connections
from panther_pipeline.serving.scorer import Scorer
from panther_pipeline.serving.service import Service


def serve(load_scorer: Callable[[], Scorer], config: ServingConfig) -> None:
    """Listen until SIGTERM or SIGINT. What holds for the whole process, the program has set (`__main__`).

    Args:
        load_scorer: loads and verifies; called in a thread while the socket is already open.
        config: where to listen, limits, intervals.

    Raises:
        ConfigurationError: the API key of the environment is too weak, or missing where others can reach the address;
            PANTHER_CARD_KEY is set and cannot be used.
        Exception: whatever loading the scorer raised, after the socket is closed.
    """
    key, card_key = read_api_key(config), read_card_key()
    configure_logging()
    service = Service(
        load_scorer, config, on_failure=lambda: server.leave(), on_settled=_pass_over_loaded, card_key=card_key
    )
    server = DrainingServer(_uvicorn_config(service, key), service)
    server.run()
    if service.failure is not None:
        raise service.failure


class DrainingServer(uvicorn.Server):
    """A server that says it is leaving before it leaves."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._leave_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where the page is."""
        await super().startup(sockets)
        for listener in (listener for server in self.servers for listener in server.sockets):
            host, port = listener.getsockname()[:2]
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
            SERVICE_LOGGER.info("the page is there", extra={"fields": {"page": address}})

    def leave(self) -> None:
        """Stop: at once if nothing was served yet, else as on SIGTERM."""
        if self._service.loaded is None:
            self._leave_at = time.monotonic()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Not ready from this instant on."""
        self._service.stop_soon()
        super().handle_exit(sig, frame)
        # Uvicorn would raise the signal once more at the end, and the process would seem to have been killed.
        if sig == signal.SIGTERM:
            self._captured_signals.clear()

    async def on_tick(self, counter: int) -> bool:
        """Whether to close the socket: some time after that was asked for."""
        if not await super().on_tick(counter):
            return False
        if self._leave_at is None:
            self._leave_at = time.monotonic() + self._service.config.drain_s
        return self.force_exit or time.monotonic() >= self._leave_at


def _pass_over_loaded() -> None:
    """What is loaded stays: to look through it for garbage would stop everything for 0.1 s, now and then."""
    gc.freeze()
    gc.enable()


def _uvicorn_config(service: Service, key: str | None) -> uvicorn.Config:
    config = service.config
    return uvicorn.Config(
        guard(service, key),
        host=config.host,
        port=config.port,
        http=guard_connections(config, Doorkeeper(service, WORK)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=config.idle_timeout_s,  # type: ignore[arg-type]  # seconds of call_later: any number
        timeout_graceful_shutdown=config.stop_timeout_s,
    )
