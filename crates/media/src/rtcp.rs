//! View of an RTCP compound packet (RFC 3550 §6, RFC 5506 reduced size, feedback of RFC 4585 passed over).
//!
//! Checks every length; reads SR, RR, SDES (CNAME) and BYE; all other types are seen as their header only.

/// RTCP packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611).
pub const SR: u8 = 200;
/// Receiver report (RFC 3550 §6.4.2).
pub const RR: u8 = 201;
/// Source description (RFC 3550 §6.5).
pub const SDES: u8 = 202;
/// Goodbye (RFC 3550 §6.6).
pub const BYE: u8 = 203;
/// Defined by an application (RFC 3550 §6.7).
pub const APP: u8 = 204;

/// Why bytes are not an RTCP compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Shorter than a header.
    Short,
    /// Version is not 2.
    Version,
    /// Packet type outside 192–223.
    Kind,
    /// A stated length or count does not fit.
    Length,
    /// Padding not in the last packet, or of a wrong size.
    Padding,
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Sender report with its report blocks.
    SenderReport {
        /// SSRC of who sends the report.
        ssrc: u32,
        /// Middle 32 bits of the NTP time: what a receiver echoes as LSR.
        ntp_middle: u32,
        /// The same instant in the media's RTP clock.
        rtp_timestamp: u32,
        /// RTP packets that it has sent so far.
        packets: u32,
        /// Payload bytes that the sender has sent (RFC 3550 §6.4.1), modulo 2³².
        octets: u32,
        /// What the sender of the report received.
        reports: Reports<'a>,
    },
    /// Receiver report with its blocks.
    ReceiverReport {
        /// SSRC of who reports.
        ssrc: u32,
        /// One report for each source that the receiver hears.
        reports: Reports<'a>,
    },
    /// Source description; the chunks as bytes.
    Description(&'a [u8]),
    /// Goodbye of these sources (each 4 bytes).
    Bye(&'a [u8]),
    /// Any other type, with its count field and body.
    Other {
        /// Packet type, 192 to 223.
        kind: u8,
        /// Body after the 4-byte header.
        body: &'a [u8],
    },
}

/// Report blocks in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reports<'a>(&'a [u8]);

/// One report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The stream it is about.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost in all; negative with duplicates.
    pub cumulative_lost: i32,
    /// Highest sequence number with cycles.
    pub highest_sequence: u32,
    /// Jitter in clock units.
    pub jitter: u32,
    /// Middle NTP bits of the last SR, 0 = none.
    pub last_sr: u32,
    /// Delay since then, 1/65,536 s.
    pub delay_since_last_sr: u32,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(|b| b.first_chunk::<4>()) {
        Some(b) => u32::from_be_bytes(*b),
        None => 0,
    }
}

impl<'a> Reports<'a> {
    /// The blocks, at most 31.
    pub fn iter(&self) -> impl Iterator<Item = Report> + use<'a> {
        self.0.chunks_exact(24).map(|b| {
            let lost = word(b, 4);
            Report {
                ssrc: word(b, 0),
                fraction_lost: (lost >> 24) as u8,
                // 24 bits, signed: moved up and back down.
                cumulative_lost: ((lost << 8) as i32) >> 8,
                highest_sequence: word(b, 8),
                jitter: word(b, 12),
                last_sr: word(b, 16),
                delay_since_last_sr: word(b, 20),
            }
        })
    }
}

/// A checked compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Check the lengths of a whole datagram: each packet has version 2, ends inside the datagram, the last one ends with
    /// it, padding only in the last one, and counts fit their bodies. (RFC 3550 A.2, without the rule that SR or RR come
    /// first: RFC 5506 allows others.)
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut rest = bytes;
        if rest.len() < 4 {
            return Err(Fault::Short);
        }
        while !rest.is_empty() {
            let head = rest.first_chunk::<4>().ok_or(Fault::Short)?;
            if head[0] >> 6 != 2 {
                return Err(Fault::Version);
            }
            if !(192..=223).contains(&head[1]) {
                return Err(Fault::Kind);
            }
            let len = packet_len(head);
            let (packet, after) = rest.split_at_checked(len).ok_or(Fault::Length)?;
            let padding = if head[0] & 0x20 != 0 {
                let n = usize::from(*packet.last().ok_or(Fault::Length)?);
                if !after.is_empty() || n == 0 || n % 4 != 0 || n > len.saturating_sub(4) {
                    return Err(Fault::Padding);
                }
                n
            } else {
                0
            };
            let count = usize::from(head[0] & 0x1F);
            let body = len.saturating_sub(4).saturating_sub(padding);
            let needed = match head[1] {
                SR => count.saturating_mul(24).saturating_add(24),
                RR => count.saturating_mul(24).saturating_add(4),
                BYE => count.saturating_mul(4),
                SDES => count.saturating_mul(4),
                APP => 8,
                _ => 0,
            };
            if body < needed {
                return Err(Fault::Length);
            }
            rest = after;
        }
        Ok(Self { rest: bytes })
    }

    /// SSRC of the sender of the first packet (0 when the first packet has none).
    pub fn sender_ssrc(&self) -> u32 {
        word(self.rest, 4)
    }
}

fn packet_len(head: &[u8; 4]) -> usize {
    usize::from(u16::from_be_bytes([head[2], head[3]])).saturating_add(1).saturating_mul(4)
}

impl<'a> Iterator for Compound<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let head = self.rest.first_chunk::<4>()?;
        let (packet, after) = self.rest.split_at_checked(packet_len(head))?;
        self.rest = after;
        let count = usize::from(head[0] & 0x1F);
        let padding = if head[0] & 0x20 != 0 { usize::from(*packet.last()?) } else { 0 };
        let body = packet.get(4..packet.len().saturating_sub(padding))?;
        let reports_at = |from: usize| {
            let to = from.saturating_add(count.saturating_mul(24));
            Reports(body.get(from..to).unwrap_or_default())
        };
        Some(match head[1] {
            SR => Item::SenderReport {
                ssrc: word(body, 0),
                ntp_middle: (word(body, 4) << 16) | (word(body, 8) >> 16),
                rtp_timestamp: word(body, 12),
                packets: word(body, 16),
                octets: word(body, 20),
                reports: reports_at(24),
            },
            RR => Item::ReceiverReport { ssrc: word(body, 0), reports: reports_at(4) },
            SDES => Item::Description(body),
            BYE => Item::Bye(body.get(..count.saturating_mul(4)).unwrap_or_default()),
            kind => Item::Other { kind, body },
        })
    }
}

/// CNAME in SDES chunks, when there is one (RFC 3550 §6.5.1).
pub fn cname(chunks: &[u8]) -> Option<&[u8]> {
    let mut rest = chunks.get(4..)?;
    loop {
        let (&kind, after) = rest.split_first()?;
        if kind == 0 {
            return None;
        }
        let (&len, after) = after.split_first()?;
        let (text, after) = after.split_at_checked(usize::from(len))?;
        if kind == 1 {
            return Some(text);
        }
        rest = after;
    }
}

/// RTCP on a port where RTP goes by itself: a compound that begins with a type in use and fills its datagram. RFC 5761 §4 keeps
/// payload types 64 to 95 free for muxed RTCP only; elsewhere they are media, whatever their marker makes of the second byte.
/// `protected`: only the first header is in the clear (RFC 3711 §3.4), and its length must be that of its report count.
pub fn is_compound(bytes: &[u8], protected: bool) -> bool {
    let Some(head) = bytes.first_chunk::<4>() else { return false };
    let words = usize::from(head[0] & 0x1F).saturating_mul(6);
    let first = match head[1] {
        SR => packet_len(head) == words.saturating_add(7).saturating_mul(4),
        RR => packet_len(head) == words.saturating_add(2).saturating_mul(4),
        202..=207 => !protected,
        _ => false,
    };
    first && (protected || Compound::parse(bytes).is_ok())
}

/// Round trip in microseconds from a report block, when the SR it answers was passed on `since_sr_us` ago
/// (RFC 3550 §6.4.1: now − LSR − DLSR). `None` when the clocks say less than nothing.
pub fn round_trip_us(since_sr_us: u64, delay_since_last_sr: u32) -> Option<u32> {
    let delay_us = u64::from(delay_since_last_sr).saturating_mul(1_000_000) >> 16;
    u32::try_from(since_sr_us.checked_sub(delay_us)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sr_sdes_bye() -> Vec<u8> {
        let mut p = vec![0x81, SR, 0, 12, 0, 0, 0, 1];
        p.extend_from_slice(&[0xAA, 0xBB, 0x11, 0x22, 0x33, 0x44, 0xCC, 0xDD]); // NTP
        p.extend_from_slice(&[0, 0, 0, 160, 0, 0, 0, 9, 0, 0, 1, 0]);
        p.extend_from_slice(&[0, 0, 0, 2, 64, 0xFF, 0xFF, 0xFE]); // lost −2
        p.extend_from_slice(&[0, 1, 0, 5, 0, 0, 0, 7, 1, 2, 3, 4, 0, 1, 0, 0]);
        p.extend_from_slice(&[0x81, SDES, 0, 3, 0, 0, 0, 1, 1, 3, b'a', b'@', b'b', 0, 0, 0]);
        p.extend_from_slice(&[0x81, BYE, 0, 1, 0, 0, 0, 1]);
        p
    }

    #[test]
    fn compound_is_read() {
        let p = sr_sdes_bye();
        let c = Compound::parse(&p).unwrap();
        assert_eq!(c.sender_ssrc(), 1);
        let items: Vec<_> = c.collect();
        assert_eq!(items.len(), 3);
        let Item::SenderReport { ssrc, ntp_middle, packets, reports, .. } = items[0] else { unreachable!() };
        assert_eq!((ssrc, ntp_middle, packets), (1, 0x1122_3344, 9));
        assert!(matches!(items[0], Item::SenderReport { rtp_timestamp: 160, octets: 256, .. }));
        let r = reports.iter().next().unwrap();
        assert_eq!((r.ssrc, r.fraction_lost, r.cumulative_lost, r.highest_sequence), (2, 64, -2, 0x1_0005));
        assert_eq!((r.jitter, r.last_sr, r.delay_since_last_sr), (7, 0x0102_0304, 65_536));
        let Item::Description(chunks) = items[1] else { unreachable!() };
        assert_eq!(cname(chunks), Some(&b"a@b"[..]));
        assert_eq!(items[2], Item::Bye(&[0, 0, 0, 1]));
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let good = sr_sdes_bye();
        for cut in 0..good.len() {
            // Cuts that fall between packets leave a good shorter compound.
            let whole = [52, 68].contains(&cut);
            assert_eq!(Compound::parse(&good[..cut]).is_ok(), whole, "{cut}");
        }
        let mut counts = good.clone();
        counts[0] = 0x82; // two blocks stated, one there
        assert_eq!(Compound::parse(&counts), Err(Fault::Length));
        let mut padded_first = good;
        padded_first[0] |= 0x20;
        assert_eq!(Compound::parse(&padded_first), Err(Fault::Padding));
    }

    #[test]
    fn counts_and_padding_must_fit_their_packets() {
        let parse = |p: &[u8]| Compound::parse(p).err();
        // One source stated, none there; and one that is there.
        assert_eq!(parse(&[0x81, BYE, 0, 0]), Some(Fault::Length));
        assert_eq!(parse(&[0x81, BYE, 0, 1, 0, 0, 0, 1]), None);
        // RFC 3550 §6.7: SSRC and name.
        assert_eq!(parse(&[0x80, APP, 0, 1, 0, 0, 0, 1]), Some(Fault::Length));
        assert_eq!(parse(&[0x80, APP, 0, 2, 0, 0, 0, 1, b'n', b'a', b'm', b'e']), None);
        assert_eq!(parse(&[0x81, SDES, 0, 0]), Some(Fault::Length));
        for (padding, error) in
            [(4, None), (2, Some(Fault::Padding)), (0, Some(Fault::Padding)), (12, Some(Fault::Padding))]
        {
            assert_eq!(parse(&[0xA0, RR, 0, 2, 0, 0, 0, 1, 0, 0, 0, padding]), error, "{padding}");
        }
        assert_eq!(parse(&[0x80, 191, 0, 1, 0, 0, 0, 1]), Some(Fault::Kind));
        assert_eq!(parse(&[0x80, 224, 0, 1, 0, 0, 0, 1]), Some(Fault::Kind));
        assert_eq!(parse(&[0x40, RR, 0, 1, 0, 0, 0, 1]), Some(Fault::Version));
        assert_eq!(parse(&[0x80, RR, 0]), Some(Fault::Short));
    }

    #[test]
    fn round_trip() {
        assert_eq!(round_trip_us(1_050_000, 65_536), Some(50_000));
        assert_eq!(round_trip_us(900_000, 65_536), None);
    }
}
