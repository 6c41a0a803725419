//! Where events may be delivered (RFC 0016, RFC 0032), and how a delivery is signed. Pure: `app` checks what is asked for by it, `webhooks`
//! delivers by it.

pub mod address;
pub mod signature;
pub mod target;
