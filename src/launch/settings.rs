//! `key=value` arguments of a profile.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::cli::Failure;

/// What was given and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pairs: Vec<(String, String)>,
}

/// `A-B`.
pub(crate) struct Ports(pub(crate) RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a range of ports such as 30000-39999".to_owned();
        let (a, b) = text.split_once('-').ok_or_else(wrong)?;
        Ok(Ports(a.parse().map_err(|_| wrong())?..=b.parse().map_err(|_| wrong())?))
    }
}

impl Settings {
    pub(crate) fn parse(args: &[String]) -> Result<Self, Failure> {
        let pairs = args
            .iter()
            .map(|arg| match arg.split_once('=') {
                Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                None => Err(Failure::new(format!("{arg:?} is not key=value")).with_code(2)),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { pairs })
    }

    /// All values of a key that may repeat.
    pub(crate) fn take_all<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<Vec<T>, Failure> {
        let (mine, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(k, _)| k == key);
        self.pairs = rest;
        let mine: Vec<(String, String)> = mine;
        mine.iter()
            .map(|(_, value)| {
                value.parse().map_err(|why| Failure::new(format!("{key}={value}: {why}")).with_code(2))
            })
            .collect()
    }

    /// The value of a key; the last one when given twice.
    pub(crate) fn take<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<Option<T>, Failure> {
        Ok(self.take_all(key)?.pop())
    }

    /// What is left and has a dot goes to the configuration (`section.key=value`).
    pub(crate) fn take_dotted(&mut self) -> Vec<(String, String)> {
        let (dotted, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(k, _)| k.contains('.'));
        self.pairs = rest;
        dotted
    }

    /// Nothing may be left.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        match self.pairs.first() {
            None => Ok(()),
            Some((key, _)) => Err(Failure::new(format!("unknown setting {key}="))
                .with_code(2)
                .hint("see loadtests/README.md")),
        }
    }
}
