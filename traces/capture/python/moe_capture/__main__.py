"""python3 -m moe_capture sglang FILE.pt... -o OUT: dumps of engines as a raw log or counts that
`simulate trace import` reads.
"""

import argparse
import sys

from .sglang import WrongDump, import_dumps
from .torch_file import FileRefused


def main():
    parser = argparse.ArgumentParser(prog="python3 -m moe_capture", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    sglang = commands.add_parser(
        "sglang", help="expert_distribution_recorder_*.pt of SGLang, of every rank"
    )
    sglang.add_argument("files", nargs="+", metavar="FILE.pt")
    sglang.add_argument(
        "-o",
        "--out",
        required=True,
        help="the raw log (mode per_token) or .npy (the other modes) to write",
    )
    sglang.add_argument("--model", default="", help="the model it was recorded with (raw log only)")
    sglang.add_argument("--overwrite", action="store_true", help="replace OUT")
    arguments = parser.parse_args()
    try:
        for line in import_dumps(
            arguments.files, arguments.out, arguments.model, arguments.overwrite
        ):
            print(line)
    except (WrongDump, FileRefused, OSError, ValueError) as mistake:
        # (parts of a message may come from the file)
        print("".join(c if c.isprintable() else "?" for c in str(mistake)), file=sys.stderr)
        return 1
    except ImportError as mistake:
        print(f"{mistake}: reading dumps of PyTorch needs NumPy", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
