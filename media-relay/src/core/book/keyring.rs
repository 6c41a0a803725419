//! Keys of a side that we speak SRTP with, by SDES (RFC 4568): which lines of ours it has been shown, what is agreed.
//!
//! A side has its own keys, whatever the other one speaks: a call between a protected and a plain party is opened and
//! closed here. Keys live as long as the side's ports. A re-offer that leaves a key as it was keeps its context, so that
//! rollover counter and replay window go on (RFC 3711 §3.3.1); each dialogue has keys of its own towards a caller that
//! several branches share, so that no two contexts ever use one keystream.

use std::sync::Arc;

use warp_media::pipeline::StageMaker;
use warp_media::srtp::{CryptoLine, SrtpMaker, Suite};
use warp_ng::SdpCommand;

use super::config::KeySource;

/// A line and the stages that it makes.
#[derive(Clone, Debug)]
struct Key {
    line: CryptoLine,
    maker: Arc<SrtpMaker>,
}

/// The keys that a call has given out and taken in.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    /// Lines of ours that the party knows of.
    shown: Vec<CryptoLine>,
    /// What we send is protected by this one.
    ours: Option<Key>,
    /// What it sends is protected by this one.
    theirs: Option<Key>,
}

impl Keyring {
    /// We speak SRTP with this side, or wait for its answer to.
    pub(super) fn is_on(&self) -> bool {
        self.ours.is_some() || self.theirs.is_some()
    }

    /// The side is plain from now on, or has new ports.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// For another branch with the same party and ports: what it sends is the same stream.
    pub(super) fn shared(&self) -> Self {
        Self { theirs: self.theirs.clone(), ..Self::default() }
    }

    /// The lines to show in an offer: those that it has seen, else a new one for each suite. `None`: there is no source of keys.
    pub(super) fn lines(&self, suites: &[Suite], keys: KeySource) -> Option<Vec<CryptoLine>> {
        if !self.shown.is_empty() {
            return Some(self.shown.clone());
        }
        suites.iter().zip(1..).map(|(suite, tag)| new_line(tag, *suite, keys)).collect()
    }

    /// Our line of an answer to `theirs`: the one that it has seen under that number and suite, else a new one.
    pub(super) fn answer(&self, theirs: &CryptoLine, keys: KeySource) -> Option<CryptoLine> {
        let known = self.shown.iter().find(|l| l.tag == theirs.tag && l.suite == theirs.suite);
        known.cloned().or_else(|| new_line(theirs.tag, theirs.suite, keys))
    }

    /// Which line of ours a line of the party answers.
    pub(super) fn answered_by(&self, theirs: &CryptoLine) -> Option<&CryptoLine> {
        self.shown.iter().find(|l| l.tag == theirs.tag && l.suite == theirs.suite)
    }

    /// The party has been shown these.
    pub(super) fn show(&mut self, lines: Vec<CryptoLine>) {
        self.shown = lines;
    }

    /// An answer settled it: what the party sends under, and what we do.
    pub(super) fn agree(&mut self, theirs: &CryptoLine, ours: CryptoLine) {
        self.hear(theirs);
        set(&mut self.ours, &ours, SrtpMaker::protect);
        // Later offers show the one that is in use.
        self.shown = vec![ours];
    }

    /// The party sends under this line.
    pub(super) fn hear(&mut self, line: &CryptoLine) {
        set(&mut self.theirs, line, SrtpMaker::unprotect);
    }

    /// Makes the first step of what comes from the side.
    pub(super) fn unprotect(&self) -> Option<Arc<dyn StageMaker>> {
        self.theirs.as_ref().map(|key| Arc::clone(&key.maker) as Arc<dyn StageMaker>)
    }

    /// Makes the last step of what goes to it.
    pub(super) fn protect(&self) -> Option<Arc<dyn StageMaker>> {
        self.ours.as_ref().map(|key| Arc::clone(&key.maker) as Arc<dyn StageMaker>)
    }
}

/// The same key keeps its maker, and with it the running context.
fn set(key: &mut Option<Key>, line: &CryptoLine, make: fn(&CryptoLine) -> Option<SrtpMaker>) {
    let is_same = key.as_ref().is_some_and(|k| {
        k.line.suite == line.suite && k.line.master() == line.master() && k.line.mki() == line.mki()
    });
    if !is_same {
        *key = make(line).map(|maker| Key { line: line.clone(), maker: Arc::new(maker) });
    }
}

/// How a line of ours is written: with padding, with its life, as the command wants.
pub(super) fn written(line: &CryptoLine, c: &SdpCommand) -> String {
    let life = if c.sdes_lifetime { "|2^31" } else { "" };
    format!("{}{life}", line.line(c.sdes_pad))
}

fn new_line(tag: u32, suite: Suite, keys: KeySource) -> Option<CryptoLine> {
    let mut master = vec![0; suite.master_len()];
    (keys.0)(&mut master).then_some(())?;
    CryptoLine::new(tag, suite, master)
}

/// The suites that a command lets us use (`SDES: no-SUITE, only-SUITE`), in the order in which we offer them.
pub(super) fn suites(c: &SdpCommand) -> Vec<Suite> {
    if c.sdes_off { Vec::new() } else { Suite::ALL.into_iter().filter(|s| may_use(c, *s)).collect() }
}

/// Whether the words `no-SUITE` and `only-SUITE` leave a suite.
pub(super) fn may_use(c: &SdpCommand, suite: Suite) -> bool {
    let named = |list: &[Vec<u8>]| list.iter().any(|n| n == suite.as_str().as_bytes());
    (c.sdes_only.is_empty() || named(&c.sdes_only)) && !named(&c.sdes_no)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tag: u32, suite: Suite, key: &str, mki: &str) -> CryptoLine {
        let name =
            if suite == Suite::Cm128Short { "AES_CM_128_HMAC_SHA1_32" } else { "AES_CM_128_HMAC_SHA1_80" };
        CryptoLine::parse(format!("{tag} {name} inline:{key}{mki}").as_bytes()).unwrap()
    }

    /// RFC 4568 §7.1.4: a line that is said again goes on with its counters; another key, suite or MKI begins anew.
    #[test]
    fn the_same_key_keeps_its_running_context() {
        let (one, other) =
            ("WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz", "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR");
        let eighty = Suite::Cm128Long;
        let mut ring = Keyring::default();
        let mut heard = |tag, suite, key: &str, mki: &str| {
            ring.hear(&line(tag, suite, key, mki));
            Arc::clone(&ring.theirs.as_ref().unwrap().maker)
        };
        let first = heard(1, eighty, one, "");
        assert!(Arc::ptr_eq(&first, &heard(1, eighty, one, "")));
        assert!(Arc::ptr_eq(&first, &heard(3, eighty, one, "")), "its number is only that of the offer");
        let mut last = first;
        for (suite, key, mki) in [
            (eighty, other, ""),
            (eighty, one, ""),
            (Suite::Cm128Short, one, ""),
            (eighty, one, "|2^20|1:4"),
            (eighty, one, "|2^20|2:4"),
        ] {
            let next = heard(1, suite, key, mki);
            assert!(!Arc::ptr_eq(&last, &next), "{suite:?} {key} {mki}");
            assert!(Arc::ptr_eq(&next, &heard(1, suite, key, mki)));
            last = next;
        }
    }
}
