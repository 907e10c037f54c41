"""`python -m memv2v_core.training`: see `command`."""

import sys

try:
    from .command import main
except ModuleNotFoundError as error:
    # The nodes need none of these packages, so ComfyUI's environment may lack them.
    sys.exit(
        f"error: training needs the package {error.name}, which is not installed; run pip install "
        '"accelerate>=1.10" "diffusers>=0.35" "peft>=0.17", or python3 dev.py train'
    )

if __name__ == "__main__":
    sys.exit(main())
