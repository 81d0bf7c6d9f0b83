"""
The workbench of a compact node: what it knows, and the effects of the event that is being handled. Pure.

`payments` and `invoices` are state machines on one workbench. It does for both what has an order that must not be got
wrong:

* a change of the state is stored before the user gets the report that shows it, and before what follows from it;
* a request of the user that the node has to process is acknowledged after the report that it changed.
"""

from collections import Counter

from offset_crypto.secure_channel import RandomBytes
from offset_ctrl.programs.stcompact.effects import AckUser, AskNode, Effect, Save, TellUser
from offset_ctrl.programs.stcompact.messages import CompactToUser
from offset_ctrl.programs.stcompact.report_form import CompactReport, build_report
from offset_ctrl.programs.stcompact.state import CompactState
from offset_proto.messages.app import AppRequest, AppToAppServer
from offset_proto.report_view import ReportView
from offset_proto.types import Uid

__all__ = ["Workbench"]


class Workbench:
    """
    State, report and effects of one compact node.

    Its attributes live as long as the node is open; only the effects are those of one event, and `take_effects` hands
    them out at its end.

    Attributes:
        report: What the node says of itself. Whoever takes the node's messages keeps it up to date, and calls
            `tell_report` afterwards.
        state: As stored, or about to be; only `update` changes it.
        told: The report that the user was given last, or is about to be.

    Args:
        random_bytes: Source of ids.
    """

    def __init__(self, report: ReportView, state: CompactState, random_bytes: RandomBytes) -> None:
        self.report = report
        self.state = state
        self.told: CompactReport = build_report(report, state)
        self._random_bytes = random_bytes
        self._pending: Counter[Uid] = Counter()
        self._effects: list[Effect] = []

    def take_effects(self) -> list[Effect]:
        """Hand out the effects of the event, in order; the workbench has none afterwards."""
        effects, self._effects = self._effects, []
        return effects

    def draw_uid(self) -> Uid:
        """A new id, for a request of our own or for the user to acknowledge something by."""
        return Uid(self._random_bytes(Uid.SIZE))

    def update(self, state: CompactState) -> None:
        """Take over another state: it is stored first, and then the user gets the report that shows it."""
        if state != self.state:
            self.state = state
            self._effects.append(Save(state))
            self.tell_report()

    def tell_report(self) -> None:
        """Give the user the report, if it is another one than the user was given last."""
        report = build_report(self.report, self.state)
        if report != self.told:
            self.told = report
            self.tell(report)

    def tell(self, message: CompactToUser) -> None:
        """Tell the user something of this node, after what it was told before."""
        self._effects.append(TellUser(message))

    def ack(self, request_id: Uid) -> None:
        """Acknowledge a request of the user that the node has nothing to do for."""
        self._effects.append(AckUser(request_id))

    def ask(self, request: AppRequest) -> None:
        """Send the node a request of our own, under a new id; nobody waits for its acknowledgement."""
        self._effects.append(AskNode(AppToAppServer(self.draw_uid(), request)))

    def ask_for_user(self, request_id: Uid, request: AppRequest) -> None:
        """Send the node a request under the id of the user's; once the node has processed it, the user's is done."""
        self._pending[request_id] += 1
        self._effects.append(AskNode(AppToAppServer(request_id, request)))

    def is_pending(self, request_id: Uid) -> bool:
        """Whether a request of the user with this id is under way at the node."""
        return self._pending[request_id] > 0

    def processed(self, request_id: Uid | None) -> None:
        """
        The node has processed a request: acknowledge the user's request of this id, if there is one.

        A user may use an id for several requests at once; each of them is acknowledged (D94). The ids of other apps,
        and None for a change that nobody asked for, mean nothing here.
        """
        if request_id is not None and self.is_pending(request_id):
            self._pending[request_id] -= 1
            self.ack(request_id)
            if not self._pending[request_id]:
                del self._pending[request_id]
