//! Screening: who may come in (address lists) and how much (channels, calls per second, daily spend).

mod cidr;
mod usage;

pub use cidr::{Cidr, CidrError, CidrTable};
pub use usage::{Bound, Gauges, Reservation, Usage, VendorReservation};
