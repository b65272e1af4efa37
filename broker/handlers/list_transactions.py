"""ListTransactions v0-2: the transactional ids this broker coordinates (KIP-664).

Versions: v0 filters by state and producer id, v1 by duration, v2 by a regular expression (RE2, as in Kafka) that the whole id
has to match; one that is none answers INVALID_REGULAR_EXPRESSION. State filters that no state has are told back. Answers COORDINATOR_LOAD_IN_PROGRESS rather than leaving ids out.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.regex import compile_regex
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.transactions.events import TransactionFilter
from broker.transactions.states import state_of_name

API = ApiKey.LIST_TRANSACTIONS


async def handle(request: Request, message: Any, services: Services) -> Any:
    response = m.ListTransactionsResponse
    states = {name: state_of_name(name) for name in message.state_filters}
    unknown = [name for name, state in states.items() if state is None]
    wanted = TransactionFilter(
        states=frozenset(state for state in states.values() if state is not None) if states else None,
        producer_ids=frozenset(message.producer_id_filters),
        duration_ms=message.duration_filter,
    )
    pattern = message.transactional_id_pattern
    try:
        matches = compile_regex(pattern).fullmatch if pattern else None
        found = await services.transactions.list_transactions(wanted)
    except KafkaError as error:
        return response(error_code=int(error.code), unknown_state_filters=unknown, transaction_states=[])
    return response(
        error_code=int(ErrorCode.NONE),
        unknown_state_filters=unknown,
        transaction_states=[
            response.TransactionState(
                transactional_id=transaction.transactional_id,
                producer_id=transaction.producer_id,
                transaction_state=transaction.state.wire_name,
            )
            for transaction in found
            if matches is None or matches(transaction.transactional_id)
        ],
    )
