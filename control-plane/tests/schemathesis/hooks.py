"""What Schemathesis is told besides the OpenAPI document (tests/schemathesis.rs runs it).

The check `valid_is_taken` stands in the place of its own `positive_data_acceptance`: a valid request may be refused for a reason of the
platform's present state, which no schema knows, and for no other one. The reasons are those of tests/published_input.rs.
"""

import os

import schemathesis

# Problems that a schema cannot know.
OF_STATE = set(os.environ["WARP_OF_STATE"].split(","))
# The key that we are.
OURSELVES = os.environ["WARP_OWN_KEY"]


@schemathesis.hook
def before_call(context, case, kwargs):
    """Whoever revokes his own key learns nothing more: a chain that has read its id goes to nobody's."""
    for name, value in (case.path_parameters or {}).items():
        if value == OURSELVES:
            case.path_parameters[name] = "key_00000000000000000000000009"


@schemathesis.hook
def filter_case(context, case):
    """A sheet is a text: an object is written as one, and is a text like any other, whose lines the report refuses."""
    is_sheet = (case.media_type or "").startswith("text/csv")
    return not (is_sheet and isinstance(case.body, (dict, list)))


@schemathesis.check
def valid_is_taken(ctx, response, case):
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return None
    status = response.status_code
    # 431: a query that is allowed field by field and is too long in all; the document says so.
    if status < 400 or status in (403, 404, 409, 412, 431):
        return None
    error = response.json().get("error") or {}
    if status == 503 and "not live yet" in error.get("message", ""):
        return None
    if status == 422 and error.get("code") == "deck_invalid":
        return None
    problems = error.get("details") or []
    if status == 422 and problems and all(p["code"] in OF_STATE for p in problems):
        return None
    raise AssertionError(f"a valid request was refused: {status} {response.text}")
