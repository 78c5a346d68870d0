"""A low-rank adapter as GGUF, as llama.cpp reads it beside the model's own file.

Layout: general.type "adapter", adapter.type "lora", adapter.lora.alpha; for each adapted matrix the tensors
`<name>.lora_a` (rank, inputs) and `<name>.lora_b` (outputs, rank), half precision.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import gguf
import numpy as np
import numpy.typing as npt

# The network's name of a matrix -> llama.cpp's. q and k are left out: their rows stand in another order there.
NAMES: Final = {
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}


def to_gguf(adapter: Mapping[tuple[int, str, str], npt.NDArray[np.float32]], alpha: float) -> bytes:
    """adapter: (layer, matrix, "a" | "b") -> (rank, inputs) or (outputs, rank). Equal adapters give equal bytes."""
    with tempfile.TemporaryDirectory(prefix="mktgen-adapter-") as place:
        path = Path(place) / "adapter.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", alpha)
        for (layer, matrix, side), values in sorted(adapter.items()):
            writer.add_tensor(f"blk.{layer}.{NAMES[matrix]}.weight.lora_{side}", values.astype(np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()
