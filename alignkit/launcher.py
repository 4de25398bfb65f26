"""accelerate's launcher, through which signals reach training and its exit code comes back.

    python -m alignkit.launcher ...     as accelerate launch ...

accelerate waits for a single process without a word to it, and torch's agent, which it starts for several, ends with 1
whatever they ended with. Here a single process takes the launcher's place. Several are handed SIGTERM, SIGUSR1 and
SIGINT as they come, all the time that they need to save, and the launcher ends with the code of the first that failed.
"""

import os
import sys
from argparse import Namespace
from typing import Any, NoReturn

import psutil
from accelerate.commands import launch
from accelerate.utils.launch import prepare_simple_launcher_cmd_env
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from alignkit.stop_signals import take

OTHERS = "SIGHUP,SIGQUIT"  # are left to torch's agent, which ends its processes and itself


def main() -> None:
    arguments = launch.launch_command_parser().parse_args()
    launch.simple_launcher = become  # launch_command decides by the configuration which launcher it is
    take(hand_on)
    os.environ["PET_SIGNALS_TO_HANDLE"] = OTHERS
    try:
        launch.launch_command(arguments)
    except ChildFailedError as error:
        print(error, file=sys.stderr)
        _, first = error.get_first_failure()
        sys.exit(_code(first.exitcode))


def become(arguments: Namespace) -> NoReturn:
    """Train in this very process, with the environment that the configuration asks for."""
    command, environ = prepare_simple_launcher_cmd_env(arguments)
    sys.stdout.flush()
    os.execvpe(command[0], command, environ)


def hand_on(number: int, frame: Any) -> None:
    """Give a signal to the processes that were started; before there are any, end."""
    workers = psutil.Process().children()
    if not workers:
        sys.exit(_code(-number))
    for worker in workers:
        try:
            worker.send_signal(number)
        except psutil.NoSuchProcess:
            continue  # it has ended since


def _code(ended: int) -> int:
    """As a shell gives it, where it was a signal."""
    return 128 - ended if ended < 0 else ended


if __name__ == "__main__":
    main()
