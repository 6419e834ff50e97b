"""Sample clocks, temperature and throttling of a GPU through NVML during a timing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

PERIOD_S = 0.05
# nvmlClocksEventReason*: why clocks are lower than they could be. Idle clocks and the
# user's own clock settings are left out.
REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "temperature (software)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}
INSTALL = "clocks and temperature are not read: pip install nvidia-ml-py"


@dataclass
class Clocks:
    """Clock rates of a GPU, sampled every 50 ms.

    Attributes:
        name: name of the GPU.
        driver: version of its driver.
        sm_mhz, memory_mhz: lowest and highest clock.
        celsius, watts: highest value.
        throttled: reasons that NVML reported, in words.
        why_not: why values could not be read; empty if all were read.
    """

    name: str = ""
    driver: str = ""
    sm_mhz: tuple[int, int] | None = None
    memory_mhz: tuple[int, int] | None = None
    celsius: int | None = None
    watts: float | None = None
    throttled: list[str] = field(default_factory=list)
    why_not: str = ""


@contextmanager
def watch(bus_id: str | None) -> Iterator[Clocks]:
    """Sample a GPU while the block runs; the yielded record is complete after the block.

    Args:
        bus_id: PCI address of the GPU; None samples nothing.
    """
    clocks = Clocks()
    if bus_id is None:
        yield clocks
        return
    try:
        import pynvml
    except ImportError:
        clocks.why_not = INSTALL
        yield clocks
        return
    try:
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByPciBusId(bus_id.encode())
        clocks.name = _text(pynvml.nvmlDeviceGetName(card))
        clocks.driver = _text(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError as error:  # NVML on a Jetson lacks these calls
        clocks.why_not = f"clocks and temperature are not read: {error}"
        yield clocks
        return
    ended = threading.Event()
    thread = threading.Thread(target=_sample, args=(pynvml, card, clocks, ended), daemon=True)
    thread.start()
    try:
        yield clocks
    finally:
        ended.set()
        thread.join()
        pynvml.nvmlShutdown()


def _sample(pynvml: Any, card: Any, clocks: Clocks, ended: threading.Event) -> None:
    reasons = getattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", None) or (
        pynvml.nvmlDeviceGetCurrentClocksThrottleReasons  # its name before 12.2
    )
    while not ended.wait(PERIOD_S):
        try:
            clocks.sm_mhz = _widened(
                clocks.sm_mhz, pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_SM)
            )
            clocks.memory_mhz = _widened(
                clocks.memory_mhz, pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_MEM)
            )
            heat = pynvml.nvmlDeviceGetTemperature(card, pynvml.NVML_TEMPERATURE_GPU)
            clocks.celsius = max(clocks.celsius or heat, heat)
            watts = pynvml.nvmlDeviceGetPowerUsage(card) / 1e3
            clocks.watts = max(clocks.watts or watts, watts)
            mask = reasons(card)
            clocks.throttled += [
                text for bit, text in REASONS.items() if mask & bit and text not in clocks.throttled
            ]
        except pynvml.NVMLError as error:  # a figure that this card does not have
            clocks.why_not = f"not all of clocks and temperature can be read: {error}"
            return


def _widened(range_: tuple[int, int] | None, value: int) -> tuple[int, int]:
    return (min(range_[0], value), max(range_[1], value)) if range_ else (value, value)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
