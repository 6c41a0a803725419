//! Times on the command line: RFC 3339, or how long ago.

use warp_model::Wall;

use super::Failure;

/// A time as people say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When(String);

impl When {
    /// As the API takes it.
    pub(super) fn text(&self) -> String {
        self.0.clone()
    }

    /// Refuses a beginning that is after its end.
    pub(super) fn in_order(since: Option<&When>, until: Option<&When>) -> Result<(), Failure> {
        match (since, until) {
            (Some(since), Some(until)) if since.is_after(until) => {
                Err(Failure::new(format!("--since {} is after --until {}", since.0, until.0))
                    .with_code(2)
                    .hint("of times ago the larger one is earlier: --since 2h --until 1h"))
            }
            _ => Ok(()),
        }
    }

    /// Of two times in UTC, as those of `… ago` are; others are the API's to compare.
    fn is_after(&self, other: &When) -> bool {
        let utc = |at: &When| at.0.get(..19).filter(|_| at.0.ends_with('Z')).map(str::to_ascii_uppercase);
        // To the second: what is finer is not worth a refusal.
        matches!((utc(self), utc(other)), (Some(a), Some(b)) if a > b)
    }
}

impl std::str::FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = text.parse::<crate::config::Span>() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let at = now.saturating_sub(ago.0);
            let ms = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
            return Ok(Self(Wall::from_unix_ms(ms).to_string()));
        }
        // The API reads the time; what cannot be one is said here, before anything is asked.
        let date = text.as_bytes();
        let looks_right = date.len() >= 20 && date[4] == b'-' && date[10].eq_ignore_ascii_case(&b'T');
        if looks_right {
            Ok(Self(text.to_owned()))
        } else {
            Err("a time such as 2026-11-29T14:00:00Z, or how long ago: 30m, 2h, 7d".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_absolutely_or_as_so_long_ago() {
        assert_eq!("2026-11-29T14:00:00Z".parse(), Ok(When("2026-11-29T14:00:00Z".into())));
        let ago: When = "2h".parse().unwrap();
        assert!(ago.0.ends_with('Z') && ago.0.contains('T'), "{ago:?}");
        for wrong in ["yesterday", "2026-11-29", "2 fortnights", ""] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
    }
}
