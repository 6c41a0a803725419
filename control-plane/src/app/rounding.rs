//! How a contract rounds: of a trunk what the customer pays, of a vendor what its invoice says.

crate::choice! {
    /// How a charge is rounded.
    pub enum RoundingMode {
        /// 0.5 of the last place goes away from zero.
        HalfAwayFromZero = "half_away_from_zero",
        /// 0.5 of the last place goes to the even neighbour.
        HalfEven = "half_even",
        /// Away from zero, always up.
        Up = "up",
        /// The fraction is cut off.
        Down = "down",
    }
}

crate::choice! {
    /// What becomes of a begun second.
    pub enum PartialSecond {
        /// It counts as a whole one.
        Up = "up",
        /// From 500 ms on it counts.
        HalfUp = "half_up",
        /// It does not count.
        Down = "down",
    }
}

crate::choice! {
    /// Where the places are rounded to.
    pub enum RoundingLevel {
        /// Each call is rounded.
        Call = "call",
        /// Calls are summed to the nano-unit; a line of an invoice is rounded once.
        Line = "line",
    }
}
