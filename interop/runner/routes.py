"""Files of routes/: fees, splits, the graph of an index server, what nodes declare, reports."""

import itertools
from typing import Any

from interop.runner.compare import Case, InNormalForm, StepResults
from interop.runner.json_values import read, show
from offset_ctrl.rules.routes import choose_routes
from offset_funder.capacities import declared, diff
from offset_index.currency_graph import Declaration
from offset_index.graph import CapacityGraph
from offset_index.ratchet import Ratchets
from offset_index.search import find_routes
from offset_proto.messages.index import Edge, IndexMutation, MultiRoute
from offset_proto.messages.payment import Rate
from offset_proto.messages.report import (
    FunderMutationReport,
    FunderReport,
    FunderReportMutation,
    IndexClientReport,
    NodeReport,
)
from offset_proto.rate import FeeOverflow, calc_fee, max_payable
from offset_proto.report_view import ReportDiverged, ReportView
from offset_proto.types import Currency, PublicKey, Uid, is_part_valid, is_route_valid

__all__ = ["JUDGES", "RUNS"]

FST = Currency("FST")


def _rate(inputs: dict[str, Any]) -> dict[str, Any]:
    rate, amount = read(Rate, inputs["rate"]), int(inputs["amount"])
    try:
        fee: str | None = str(calc_fee(rate, amount))
    except FeeOverflow:
        fee = None
    return {"fee": fee, "maxPayable": str(max_payable(rate, amount))}


def _validity(inputs: dict[str, Any]) -> dict[str, Any]:
    keys = tuple(PublicKey(bytes.fromhex(key)) for key in inputs["publicKeys"])
    return {"validRoute": is_route_valid(keys), "validPart": is_part_valid(keys)}


def _split(case: Case) -> InNormalForm:
    amount = int(case.inputs["amount"])
    choice = choose_routes(read(tuple[MultiRoute, ...], case.inputs["multiRoutes"]), amount)
    ours: dict[str, Any] = {"multiRoute": None}
    if choice is not None:
        ours = {
            "multiRoute": choice.multi_route_index,
            "choice": [{"route": part.route_index, "destPayment": str(part.dest_payment)} for part in choice.parts],
            "fees": [str(part.fees) for part in choice.parts],
        }
    return InNormalForm(ours, _without_zero_parts if amount else lambda recorded: recorded)


def _without_zero_parts(recorded: dict[str, Any]) -> dict[str, Any]:
    """The original may pay 0 credits over a route; ours leaves such parts out, unless nothing is paid at all (D77)."""
    parts = list(zip(recorded.get("choice") or (), recorded.get("fees") or (), strict=True))
    if not parts:
        return recorded
    kept = [(part, fees) for part, fees in parts if part["destPayment"] != "0"]
    return {**recorded, "choice": [part for part, _ in kept], "fees": [fees for _, fees in kept]}


def _graph(case: Case) -> StepResults | dict[str, Any]:
    if "edges" in case.inputs:
        return _age(case.inputs["edges"])
    keys = [PublicKey(bytes.fromhex(key)) for key in case.inputs["nodes"]]
    graph = CapacityGraph()
    steps = [_graph_step(graph, keys, step) for step in case.inputs["steps"]]
    return StepResults(
        [result if result is None else result["answer"] for result in steps],
        normal_form=lambda value: value,
        described=lambda expected, got: _is_other_answer(expected, got),
    )


def _graph_step(graph: CapacityGraph, keys: list[PublicKey], step: dict[str, Any]) -> dict[str, Any] | None:
    ((kind, argument),) = step.items()
    match kind:
        case "update":
            declaration = Declaration(int(argument["recvCapacity"]), read(Rate, argument["rate"]))
            graph.update(FST, keys[argument["node"]], keys[argument["friend"]], declaration)
            return None
        case "remove":
            graph.remove(FST, keys[argument["node"]], keys[argument["friend"]])
            return None
        case "removeNode":
            graph.remove_node(keys[argument])
            return None
        case "request":
            return {"answer": Answer(graph, keys, argument)}
    raise ValueError(f"a kind of step that is not known: {kind}")


class Answer:
    """What a search answered, with the graph of that moment to judge it by."""

    def __init__(self, graph: CapacityGraph, keys: list[PublicKey], request: dict[str, Any]) -> None:
        self.keys = keys
        self.capacity = int(request["capacity"])
        self.source, self.destination = request["source"], request["destination"]
        excluded = request["exclude"]
        self.exclude = None if excluded is None else (excluded["from"], excluded["to"])
        self.sendable: dict[tuple[int, int], int] = {}
        self.rates: dict[tuple[int, int], Rate] = {}
        found: tuple[MultiRoute, ...] = ()
        currency = graph.currency(FST)
        if currency is not None:
            self._remember(currency)
            edge = None if self.exclude is None else Edge(*(keys[index] for index in self.exclude))
            found = find_routes(currency, keys[self.source], keys[self.destination], self.capacity, edge)
        self.multi_routes = [
            [
                {
                    "route": [keys.index(key) for key in route.route.public_keys],
                    "capacity": str(route.capacity),
                    "rate": show(Rate, route.rate),
                }
                for route in multi_route.routes
            ]
            for multi_route in found
        ]

    def _remember(self, currency: Any) -> None:
        for u, sender in enumerate(self.keys):
            for v, receiver in enumerate(self.keys):
                sendable = currency.send_capacity(sender, receiver)
                if sendable is not None:
                    self.sendable[u, v] = sendable
                    self.rates[v, u] = currency.declared(receiver)[sender].rate

    def is_sound(self) -> bool:
        """Every answered route is a path that carries what was asked for, priced by the mediators' rates."""
        return all(self._is_sound(routes) for routes in self.multi_routes)

    def _is_sound(self, routes: list[dict[str, Any]]) -> bool:
        used: dict[tuple[int, int], int] = {}
        for route in routes:
            path = route["route"]
            hops = list(itertools.pairwise(path))
            ends = path[0] == self.source and path[-1] == self.destination
            if not ends or len(set(path)) != len(path) or len(path) > 32 or self.exclude in hops:
                return False
            rates = [self.rates.get((path[i], path[i - 1])) for i in range(1, len(path) - 1)]
            if any(hop not in self.sendable for hop in hops) or None in rates:
                return False
            total = {
                "mul": sum(rate.mul for rate in rates if rate),
                "add": sum(rate.add for rate in rates if rate),
            }
            if total != route["rate"]:
                return False
            for hop in hops:
                used[hop] = used.get(hop, 0) + int(route["capacity"])
        fits = all(amount <= self.sendable[hop] for hop, amount in used.items())
        both_ways = any((v, u) in used for u, v in used)
        return fits and not both_ways and sum(int(route["capacity"]) for route in routes) >= self.capacity


def _is_other_answer(expected: Any, got: Any) -> bool:
    """D71: other or more routes, if they are sound; none only where none is acceptable."""
    if not isinstance(got, Answer):
        return False
    return got.is_sound() and (bool(got.multi_routes) or not expected["acceptable"])


def _age(edges: int) -> dict[str, Any]:
    graph, node = CapacityGraph(), PublicKey(bytes(32))
    for index in range(edges):
        graph.update(FST, node, PublicKey(bytes([index + 1]) * 32), Declaration(1, Rate(0, 0)))
    ticks = 0
    while graph.currency(FST) is not None:
        graph.age(node)
        ticks += 1
    return {"ticksUntilGone": ticks}


def _ratchet(case: Case) -> StepResults:
    ratchets = Ratchets(case.inputs["ticksToLive"])
    steps: list[dict[str, Any]] = []
    for step in case.inputs["steps"]:
        if "tick" in step:
            steps.append({"removed": sorted(node[0] for node in ratchets.tick())})
        else:
            update = step["update"]
            node, session = PublicKey(bytes([update["node"]]) * 32), Uid(bytes([update["session"]]) * 16)
            steps.append({"accepted": ratchets.accept(node, session, update["counter"])})
    return StepResults(steps)


def _view(funder_report: Any) -> ReportView:
    return ReportView(NodeReport(read(FunderReport, funder_report), IndexClientReport((), None)))


def _index_state(inputs: dict[str, Any]) -> dict[str, Any]:
    view = _view(inputs["funderReport"])
    before = declared(view.friends)
    if "mutation" not in inputs:
        friends = [
            {
                "publicKey": key.hex(),
                "currency": str(currency),
                "recvCapacity": str(capacity.recv_capacity),
                "rate": show(Rate, capacity.rate),
            }
            for (key, currency), capacity in sorted(before.items())
        ]
        return {"friends": friends}
    view.apply([FunderMutationReport(read(FunderReportMutation, inputs["mutation"]))])
    mutations = [show(IndexMutation, mutation) for mutation in diff(before, declared(view.friends))]
    return {"indexMutations": sorted(mutations, key=str)}


def _report_mutation(case: Case) -> dict[str, Any]:
    view = _view(case.inputs["funderReport"])
    try:
        view.apply([FunderMutationReport(read(FunderReportMutation, case.inputs["mutation"]))])
    except ReportDiverged as error:
        return {"error": type(error).__name__}
    result: dict[str, Any] = show(FunderReport, view.snapshot().funder_report)
    # Friends are a map: their order carries no meaning.
    expected = case.expected["funderReport"]["friends"]["list"]
    order = {friend["friendPublicKey"]: index for index, friend in enumerate(expected)}
    result["friends"]["list"].sort(key=lambda friend: order.get(friend["friendPublicKey"], -1))
    return {"funderReport": result}


RUNS = {
    "routes/rate.json": _rate,
    "routes/validity.json": _validity,
    "routes/index_state.json": _index_state,
}
JUDGES = {
    "routes/split.json": _split,
    "routes/graph.json": _graph,
    "routes/ratchet.json": _ratchet,
    "routes/report_mutation.json": _report_mutation,
}
