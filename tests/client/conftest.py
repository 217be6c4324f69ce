"""Fixtures that several files of the client's tests share."""

from tests.support.mirrored_channel import channel as channel
from tests.support.mirrored_channel import servicer as servicer
from tests.support.mirrored_channel import stub as stub
