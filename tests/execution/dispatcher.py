"""A dispatcher as a process of its own, for the kill test: argv = endpoint, bucket, prefix, customers."""

from __future__ import annotations

import sys

from mktgen.execution.dispatch import dispatch
from mktgen.store import ObjectStore, S3Location
from tests.execution.conftest import DAY, approval, decision, decisions, desk, messages_for, published


def main(endpoint: str, bucket: str, prefix: str, customers: int) -> None:
    objects = ObjectStore(S3Location(endpoint, bucket, prefix))
    frame = decisions([decision(number) for number in range(customers)])
    print("ready", flush=True)
    done = dispatch(frame, messages_for(frame), approval(), published(), DAY, DAY, DAY, desk(objects))
    print(f"{done.sends.height} {done.sent_now}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
