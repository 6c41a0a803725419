//! Endpoints of people: users of customers, and the carrier's own people, as they are declared.

use super::endpoint::{Audience, Endpoint};
use super::nouns;
use crate::app::users::{Operators, Users};

/// The endpoints of one audience.
pub(super) fn endpoints(audience: Audience) -> Vec<Endpoint> {
    let mut out = nouns::endpoints::<Users>(audience);
    out.extend(nouns::endpoints::<Operators>(audience));
    out
}
