//! View of an RTP packet (RFC 3550 §5.1) and the first-byte classes of one media port (RFC 7983).
//!
//! The view checks every length that the header states (CSRC list, RFC 8285 extension block, padding) and then only
//! reads. What it does not do: decode extension elements' meaning, or touch the payload.

/// Bytes of the fixed header.
pub const FIXED_HEADER_BYTES: usize = 12;

/// What a datagram on a media port is, by its first byte (RFC 7983 §7) and, for RTP/RTCP, its second (RFC 5761 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketClass {
    /// 128–191, second byte outside 192–223.
    Rtp,
    /// 128–191, second byte 192–223.
    Rtcp,
    /// STUN: the first byte is 0 to 3.
    Stun,
    /// 16–19, with the cookie of RFC 6189 §5: key agreement of the end points, in the media's own way.
    Zrtp,
    /// DTLS: the first byte is 20 to 63.
    Dtls,
    /// Anything else, and anything shorter than 8 bytes.
    Other,
}

/// "ZRTP" (RFC 6189 §5).
const ZRTP_COOKIE: [u8; 4] = *b"ZRTP";

/// Class of a datagram. Looks at two bytes and the length only, and at the cookie of ZRTP.
#[inline]
pub fn classify(packet: &[u8]) -> PacketClass {
    let (Some(&first), Some(&second)) = (packet.first(), packet.get(1)) else {
        return PacketClass::Other;
    };
    if packet.len() < 8 {
        return PacketClass::Other;
    }
    match first {
        128..=191 if (192..=223).contains(&second) => PacketClass::Rtcp,
        128..=191 => PacketClass::Rtp,
        0..=3 => PacketClass::Stun,
        16..=19 if packet.get(4..8) == Some(&ZRTP_COOKIE) => PacketClass::Zrtp,
        20..=63 => PacketClass::Dtls,
        _ => PacketClass::Other,
    }
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpError {
    /// Shorter than the header it states.
    Short,
    /// Version is not 2.
    Version,
    /// The extension block is longer than the packet.
    Extension,
    /// Padding count is zero or longer than what follows the header.
    Padding,
}

/// An RTP packet in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpView<'a> {
    bytes: &'a [u8],
    header: u16,
    extension: Option<(u16, u16)>,
    padding: u8,
}

impl<'a> RtpView<'a> {
    /// Check all lengths of `bytes` (one whole datagram).
    ///
    /// Errors: see [`RtpError`]; nothing is ever partly accepted. Source: RFC 3550 §5.1 and A.1, RFC 8285 §4.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let fixed = bytes.first_chunk::<FIXED_HEADER_BYTES>().ok_or(RtpError::Short)?;
        let first = fixed[0];
        if first >> 6 != 2 {
            return Err(RtpError::Version);
        }
        if first & 0x3F == 0 {
            // The usual packet: no padding, no extension, no CSRC.
            return Ok(Self { bytes, header: FIXED_HEADER_BYTES as u16, extension: None, padding: 0 });
        }
        Self::parse_odd(bytes, first)
    }

    /// As [`RtpView::parse`], without a look at the padding: a relay passes on what its receiver may judge, and in SRTP
    /// that is not opened here the count is encrypted (RFC 3711 §3.1). [`RtpView::payload`] then includes padding and tag.
    #[inline]
    pub fn parse_header(bytes: &'a [u8]) -> Result<Self, RtpError> {
        let first = *bytes.first_chunk::<FIXED_HEADER_BYTES>().ok_or(RtpError::Short)?.first().unwrap_or(&0);
        if first >> 6 != 2 {
            return Err(RtpError::Version);
        }
        if first & 0x1F == 0 {
            return Ok(Self { bytes, header: FIXED_HEADER_BYTES as u16, extension: None, padding: 0 });
        }
        Self::parse_odd(bytes, first & !0x20)
    }

    fn parse_odd(bytes: &'a [u8], first: u8) -> Result<Self, RtpError> {
        let mut header = FIXED_HEADER_BYTES.saturating_add(usize::from(first & 0x0F) << 2);
        if bytes.len() < header {
            return Err(RtpError::Short);
        }
        let mut extension = None;
        if first & 0x10 != 0 {
            let head = bytes.get(header..).and_then(|b| b.first_chunk::<4>()).ok_or(RtpError::Extension)?;
            let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let from = header.saturating_add(4);
            let to = from.saturating_add(words << 2);
            if bytes.len() < to {
                return Err(RtpError::Extension);
            }
            extension = Some((
                u16::try_from(from).map_err(|_| RtpError::Extension)?,
                u16::try_from(to).map_err(|_| RtpError::Extension)?,
            ));
            header = to;
        }
        let mut padding = 0;
        if first & 0x20 != 0 {
            padding = *bytes.last().ok_or(RtpError::Padding)?;
            if padding == 0 || bytes.len().saturating_sub(header) < usize::from(padding) {
                return Err(RtpError::Padding);
            }
        }
        Ok(Self {
            bytes,
            header: u16::try_from(header).map_err(|_| RtpError::Extension)?,
            extension,
            padding,
        })
    }

    #[inline]
    fn u16_at(&self, at: usize) -> u16 {
        match self.bytes.get(at..).and_then(|b| b.first_chunk::<2>()) {
            Some(b) => u16::from_be_bytes(*b),
            None => 0,
        }
    }

    #[inline]
    fn u32_at(&self, at: usize) -> u32 {
        match self.bytes.get(at..).and_then(|b| b.first_chunk::<4>()) {
            Some(b) => u32::from_be_bytes(*b),
            None => 0,
        }
    }

    /// Payload type from the second byte, 0 to 127.
    #[inline]
    pub fn payload_type(&self) -> u8 {
        self.bytes.get(1).map_or(0, |b| b & 0x7F)
    }

    /// The marker bit, whose meaning the payload's profile gives.
    pub fn marker(&self) -> bool {
        self.bytes.get(1).is_some_and(|b| b & 0x80 != 0)
    }

    /// Sequence number, rising by one a packet, modulo 65,536.
    #[inline]
    pub fn sequence(&self) -> u16 {
        self.u16_at(2)
    }

    /// Timestamp in the payload's clock.
    #[inline]
    pub fn timestamp(&self) -> u32 {
        self.u32_at(4)
    }

    /// Synchronisation source: the stream that the packet belongs to.
    #[inline]
    pub fn ssrc(&self) -> u32 {
        self.u32_at(8)
    }

    /// Contributing sources, at most 15.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        let count = usize::from(self.bytes.first().map_or(0, |b| b & 0x0F));
        self.bytes
            .get(FIXED_HEADER_BYTES..)
            .unwrap_or_default()
            .chunks_exact(4)
            .take(count)
            .map(|c| c.first_chunk::<4>().map_or(0, |b| u32::from_be_bytes(*b)))
    }

    /// Profile value and data of the extension block, when there is one (RFC 3550 §5.3.1).
    pub fn extension(&self) -> Option<(u16, &'a [u8])> {
        let (from, to) = self.extension?;
        let profile = self.u16_at(usize::from(from).saturating_sub(4));
        Some((profile, self.bytes.get(usize::from(from)..usize::from(to))?))
    }

    /// Elements of an RFC 8285 extension block as (id, data); empty for other profiles. Ends at the first bad length.
    pub fn extensions(&self) -> Extensions<'a> {
        let (form, rest) = match self.extension() {
            Some((0xBEDE, data)) => (ExtensionForm::OneByte, data),
            Some((profile, data)) if profile & 0xFFF0 == 0x1000 => (ExtensionForm::TwoByte, data),
            _ => (ExtensionForm::OneByte, &[][..]),
        };
        Extensions { form, rest }
    }

    /// The payload, without header and padding.
    pub fn payload(&self) -> &'a [u8] {
        let end = self.bytes.len().saturating_sub(usize::from(self.padding));
        self.bytes.get(usize::from(self.header)..end).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug)]
enum ExtensionForm {
    OneByte,
    TwoByte,
}

/// Iterator over RFC 8285 elements; see [`RtpView::extensions`].
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    form: ExtensionForm,
    rest: &'a [u8],
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&head, rest) = self.rest.split_first()?;
            if head == 0 {
                self.rest = rest; // padding byte
                continue;
            }
            let (id, len, rest) = match self.form {
                ExtensionForm::OneByte => {
                    if head >> 4 == 15 {
                        // RFC 8285 §4.2: id 15 ends the list.
                        self.rest = &[];
                        return None;
                    }
                    (head >> 4, usize::from(head & 0x0F).saturating_add(1), rest)
                }
                ExtensionForm::TwoByte => {
                    let Some((&len, rest)) = rest.split_first() else {
                        self.rest = &[];
                        return None;
                    };
                    (head, usize::from(len), rest)
                }
            };
            let Some((data, rest)) = rest.split_at_checked(len) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            return Some((id, data));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, tail: &[u8]) -> Vec<u8> {
        let mut p = vec![first, 0x88, 0x12, 0x34, 0, 0, 0, 160, 0xDE, 0xAD, 0xBE, 0xEF];
        p.extend_from_slice(tail);
        p
    }

    #[test]
    fn plain_packet() {
        let p = packet(0x80, &[1, 2, 3]);
        let v = RtpView::parse(&p).unwrap();
        assert_eq!(
            (v.payload_type(), v.marker(), v.sequence(), v.timestamp(), v.ssrc()),
            (8, true, 0x1234, 160, 0xDEAD_BEEF)
        );
        assert_eq!(v.payload(), [1, 2, 3]);
        assert_eq!(v.extension(), None);
        assert_eq!(v.csrcs().count(), 0);
    }

    #[test]
    fn csrc_extension_and_padding_are_taken_off() {
        let p = packet(
            0x80 | 0x20 | 0x10 | 1,
            &[
                0, 0, 0, 9, // one CSRC
                0xBE, 0xDE, 0, 2, 0x10, 0xAA, 0x00, 0x21, 1, 2, 0xF0, 7, // one-byte elements
                5, 6, 0, 2, // payload 5 6, padding 2
            ],
        );
        let v = RtpView::parse(&p).unwrap();
        assert_eq!(v.csrcs().collect::<Vec<_>>(), [9]);
        assert_eq!(v.payload(), [5, 6]);
        let got: Vec<_> = v.extensions().map(|(id, d)| (id, d.to_vec())).collect();
        assert_eq!(got, [(1, vec![0xAA]), (2, vec![1, 2])]);
    }

    #[test]
    fn two_byte_extensions() {
        let p = packet(0x90, &[0x10, 0x00, 0, 2, 3, 0, 4, 2, 8, 9, 0, 0, 77]);
        let v = RtpView::parse(&p).unwrap();
        let got: Vec<_> = v.extensions().map(|(id, d)| (id, d.to_vec())).collect();
        assert_eq!(got, [(3, vec![]), (4, vec![8, 9])]);
        // 0x1000 to 0x100F are the two-byte form (RFC 8285 §4.3); other profiles have no elements that we know.
        for (profile, elements) in [([0x10, 0x0F], 2), ([0x10, 0x10], 0), ([0xBE, 0xDF], 0)] {
            let p = packet(0x90, &[profile[0], profile[1], 0, 2, 3, 0, 4, 2, 8, 9, 0, 0, 77]);
            assert_eq!(RtpView::parse(&p).unwrap().extensions().count(), elements, "{profile:?}");
        }
        assert_eq!(v.payload(), [77]);
    }

    #[test]
    fn wrong_lengths_are_refused() {
        assert_eq!(RtpView::parse(&[0x80; 11]), Err(RtpError::Short));
        assert_eq!(RtpView::parse(&packet(0x40, &[])), Err(RtpError::Version));
        assert_eq!(RtpView::parse(&packet(0x82, &[0; 7])), Err(RtpError::Short));
        assert_eq!(RtpView::parse(&packet(0x90, &[0xBE, 0xDE, 0, 2, 0, 0, 0, 0])), Err(RtpError::Extension));
        assert_eq!(RtpView::parse(&packet(0xA0, &[0])), Err(RtpError::Padding));
        assert_eq!(RtpView::parse(&packet(0xA0, &[1, 9])), Err(RtpError::Padding));
    }

    #[test]
    fn classes_of_one_port() {
        let of = |a: u8, b: u8| classify(&[a, b, 0, 0, 0, 0, 0, 0]);
        assert_eq!(of(0x80, 0), PacketClass::Rtp);
        assert_eq!(of(0x80, 200), PacketClass::Rtcp);
        assert_eq!(of(0x81, 207), PacketClass::Rtcp);
        assert_eq!(of(0x80, 0x80 | 96), PacketClass::Rtp);
        assert_eq!(of(0, 1), PacketClass::Stun);
        assert_eq!(classify(b"\x10\0\0\x01ZRTP\0\0\0\x07"), PacketClass::Zrtp);
        assert_eq!(classify(b"\x10\0\0\x01ZRTQ\0\0\0\x07"), PacketClass::Other);
        assert_eq!(of(22, 254), PacketClass::Dtls);
        assert_eq!(of(0xFF, 0), PacketClass::Other);
        assert_eq!(classify(&[0x80; 7]), PacketClass::Other);
    }
}
