"""`accelerate launch scripts/train.py RECIPE [key=value ...]` is `alignkit train RECIPE ...` on every process."""

from alignkit.cli.train import command

if __name__ == "__main__":
    command()
