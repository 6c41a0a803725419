//! Offer and answer of one dialog (RFC 3264, RFC 6337): what both sides have agreed on, which answer is owed, and what the relay was told
//! that nobody agreed on. An SDP that is not owed changes nothing.

use warp_sdp::{MediaEdit, RefusedSection, Sdp, SessionEdit};
use warp_sip::dialog::Side;

/// An offer in a response: the answer comes in the ACK or PRACK.
#[derive(Debug)]
pub(crate) struct Owed {
    /// Who must answer.
    pub(crate) by: Side,
    /// The offer as it was received.
    pub(crate) offer: Vec<u8>,
    /// Number of the INVITE, as its sender counts: its ACK has it too.
    pub(crate) cseq: u32,
}

/// Offer and answer of the caller with one callee.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// What the caller described last that the callee answered (or the answer that it gave); empty: what its INVITE said.
    pub(crate) caller: Vec<u8>,
    /// The same of the callee; empty: nothing was agreed yet.
    pub(crate) callee: Vec<u8>,
    pub(crate) owed: Option<Owed>,
    /// The first exchange ended before the 2xx: in a reliable 18x, or its PRACK. Descriptions in further responses to the INVITE are not owed.
    pub(crate) early: bool,
    /// What the last unreliable 18x described: the answer, when the 2xx has none.
    pub(crate) heard: Vec<u8>,
    /// What such a response says instead: the relay's answer as the caller has it.
    pub(crate) repeat: Vec<u8>,
    /// The relay's answer in the last ACK with a description, and its CSeq: for its repetitions.
    pub(crate) acked: Option<(u32, Vec<u8>)>,
    /// What an 18x to a re-INVITE described: the answer, when its 2xx has none.
    pub(crate) preview: Vec<u8>,
    /// Offers within the dialog that wait for their answer.
    pub(crate) open: u8,
    /// The relay was told an offer that has no answer.
    pub(crate) dirty: bool,
    /// It must be told again what was agreed, as soon as nothing else is asked.
    pub(crate) restore: bool,
}

impl Exchange {
    /// An offer went out.
    pub(crate) fn offered(&mut self) {
        self.open = self.open.saturating_add(1);
        self.preview.clear();
        self.dirty = true;
    }

    /// An offer that was counted by [`Exchange::offered`] was answered.
    pub(crate) fn answered(&mut self, offerer: Side, offer: &[u8], answer: &[u8]) {
        self.open = self.open.saturating_sub(1);
        self.agreed(offerer, offer, answer);
    }

    /// The answer that an ACK with this number owes, if it is the sender's to give.
    pub(crate) fn owed_by_ack(&mut self, side: Side, cseq: u32) -> Option<Owed> {
        self.owed.take_if(|o| o.by == side && o.cseq == cseq)
    }

    /// The ACK brings no answer to the offer in its 2xx: what was agreed before holds.
    pub(crate) fn unanswered(&mut self, side: Side, cseq: u32) {
        if self.owed_by_ack(side, cseq).is_some() {
            self.restore |= self.open == 0 && self.dirty;
        }
    }

    /// An offer was answered: both know these descriptions now. Of others that wait, the relay holds what nobody has agreed on.
    pub(crate) fn agreed(&mut self, offerer: Side, offer: &[u8], answer: &[u8]) {
        let (caller, callee) = match offerer {
            Side::Caller => (offer, answer),
            Side::Callee => (answer, offer),
        };
        set(&mut self.caller, caller);
        set(&mut self.callee, callee);
        self.dirty = self.open > 0 || self.owed.is_some();
    }

    /// A response that might have been about media is not passed on: the offer that it answered is over, or there was none.
    pub(crate) fn refused(&mut self, offered: bool) {
        match offered {
            true => self.closed(),
            false => self.restore |= self.open == 0 && self.dirty,
        }
    }

    /// An offer is over, answered or not.
    pub(crate) fn closed(&mut self) {
        self.open = self.open.saturating_sub(1);
        self.restore |= self.open == 0 && self.dirty;
    }
}

/// Keeps the buffer.
pub(crate) fn set(held: &mut Vec<u8>, new: &[u8]) {
    held.clear();
    held.extend_from_slice(new);
}

/// Media sections of a description.
fn sections(bytes: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, b"\nm=").count()
}

/// The answer with as many sections as its offer has: missing ones are refused, surplus ones left out (RFC 3264 §6). `None` when it
/// fits, or when one of the two cannot be read: then the relay decides.
pub(crate) fn fitted(offer: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
    let (want, have) = (sections(offer), sections(answer));
    if want == have {
        return None;
    }
    let (offer, answer) = (Sdp::parse(offer).ok()?, Sdp::parse(answer).ok()?);
    let surplus = MediaEdit { remove: true, ..MediaEdit::default() };
    let edits: Vec<MediaEdit<'_>> =
        (0..have).map(|i| if i < want { MediaEdit::default() } else { surplus.clone() }).collect();
    let missing: Vec<RefusedSection<'_>> = offer
        .media()
        .skip(have)
        .map(|m| RefusedSection {
            kind: m.kind(),
            protocol: m.protocol(),
            formats: m.formats().next().unwrap_or(b"0"),
        })
        .collect();
    let mut out = Vec::with_capacity(answer.bytes().len() + 128);
    answer.write_padded(&SessionEdit::default(), &edits, &missing, &mut out);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn fit(offer: &[&str], answer: &[&str]) -> Option<String> {
        let sdp = |sections: &[&str]| format!("{HEAD}{}", sections.concat()).into_bytes();
        fitted(&sdp(offer), &sdp(answer))
            .map(|out| String::from_utf8(out).unwrap().strip_prefix(HEAD).unwrap().to_owned())
    }

    #[test]
    fn an_answer_gets_as_many_sections_as_its_offer() {
        let (a, v) =
            ("m=audio 4000 RTP/AVP 0 8\r\na=sendrecv\r\n", "m=video 4002 RTP/SAVPF 96 97\r\na=x\r\n");
        assert_eq!(fit(&[a], &[a]), None);
        assert_eq!(fit(&[a, v], &[a]).unwrap(), format!("{a}m=video 0 RTP/SAVPF 96\r\n"));
        assert_eq!(fit(&[a], &[a, v]).unwrap(), a);
        assert_eq!(fit(&[a, v], &[]).unwrap(), "m=audio 0 RTP/AVP 0\r\nm=video 0 RTP/SAVPF 96\r\n");
        assert_eq!(fitted(b"no", b"m=audio 1 RTP/AVP 0\r\n"), None);
    }

    #[test]
    fn what_was_not_agreed_is_taken_back_when_no_offer_is_open() {
        let mut e = Exchange::default();
        // Crossing offers: one is refused while the other waits, then that one is answered.
        e.offered();
        e.offered();
        e.closed();
        assert!(!e.restore);
        e.answered(Side::Callee, b"offer", b"answer");
        assert!(!e.restore && !e.dirty);
        assert_eq!((&e.caller[..], &e.callee[..]), (&b"answer"[..], &b"offer"[..]));
        // Both refused.
        e.offered();
        e.offered();
        e.closed();
        e.closed();
        assert!(e.restore);
        // One is answered first, then the other is refused: the relay was told that one in vain.
        let mut e = Exchange::default();
        e.offered();
        e.offered();
        e.answered(Side::Callee, b"offer", b"answer");
        assert!(!e.restore && e.dirty);
        e.closed();
        assert!(e.restore);
    }

    #[test]
    fn the_answer_of_another_ack_is_not_the_one_that_is_owed() {
        let owed = || Some(Owed { by: Side::Caller, offer: b"offer".to_vec(), cseq: 3 });
        let mut e = Exchange { owed: owed(), dirty: true, ..Exchange::default() };
        e.unanswered(Side::Caller, 2);
        e.unanswered(Side::Callee, 3);
        assert!(e.owed.is_some() && !e.restore);
        e.unanswered(Side::Caller, 3);
        assert!(e.owed.is_none() && e.restore);
        // While an answer is owed, another agreement leaves the relay with an offer in vain.
        let mut e = Exchange { owed: owed(), open: 1, dirty: true, ..Exchange::default() };
        e.answered(Side::Callee, b"offer", b"answer");
        assert!(e.dirty);
    }
}
