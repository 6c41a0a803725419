//! Screening: how much may come in (channels, calls per second, daily spend). Who may come in is in [`cidr`](crate::cidr).

mod usage;

pub use usage::{Bound, Gauges, Reservation, Spent, Usage, VendorReservation};
