//! The bytes of the files of a recording: WAV, and pcap as rtpengine writes it.

use std::net::{IpAddr, SocketAddr};

use warp_media::play::HZ;

/// Bytes of a WAV head.
pub const WAV_HEAD: usize = 44;

/// The head of a WAV file of 16-bit samples, one channel, 8,000 a second, with so many bytes of samples.
pub fn wav_head(bytes: u64) -> [u8; WAV_HEAD] {
    // The form has no longer one: players read on to the end of the file.
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX - 36).min(u32::MAX - 36);
    let mut head = [0; WAV_HEAD];
    let parts: [&[u8]; 12] = [
        b"RIFF",
        &bytes.saturating_add(36).to_le_bytes(),
        b"WAVEfmt \x10\0\0\0",
        &1u16.to_le_bytes(),
        &1u16.to_le_bytes(),
        &HZ.to_le_bytes(),
        &HZ.saturating_mul(2).to_le_bytes(),
        &2u16.to_le_bytes(),
        &16u16.to_le_bytes(),
        b"data",
        &bytes.to_le_bytes(),
        &[],
    ];
    let all = parts.into_iter().flatten();
    head.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
    head
}

/// The head of a pcap file of IP packets without a link layer (LINKTYPE_RAW).
pub fn pcap_head() -> [u8; 24] {
    let mut head = [0; 24];
    let words = [0xA1B2_C3D4u32, 2 | 4 << 16, 0, 0, 65_535, 101];
    let all = words.into_iter().flat_map(u32::to_le_bytes);
    head.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    head
}

/// One packet of a pcap file: `kept` are the first bytes of a UDP payload of `length` bytes. `at_us`: since 1970.
pub fn pcap_packet(
    out: &mut Vec<u8>,
    at_us: i64,
    from: SocketAddr,
    to: SocketAddr,
    length: usize,
    kept: &[u8],
) {
    let (from_ip, to_ip) = (from.ip(), to.ip());
    let head = if from_ip.is_ipv4() && to_ip.is_ipv4() { 28usize } else { 48 };
    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let short = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let (seconds, micros) = (at_us.div_euclid(1_000_000), at_us.rem_euclid(1_000_000));
    for value in [
        seconds as u32,
        micros as u32,
        word(head.saturating_add(kept.len())),
        word(head.saturating_add(length)),
    ] {
        out.extend(value.to_le_bytes());
    }
    let udp = length.saturating_add(8);
    match (from_ip, to_ip) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend([0x45, 0]);
            out.extend(short(udp.saturating_add(20)).to_be_bytes());
            // Neither fragments nor a sum: nobody sends it.
            out.extend([0, 0, 0, 0, 64, 17, 0, 0]);
            out.extend(from.octets());
            out.extend(to.octets());
        }
        _ => {
            let six = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            out.extend([0x60, 0, 0, 0]);
            out.extend(short(udp).to_be_bytes());
            out.extend([17, 64]);
            out.extend(six(from_ip).octets());
            out.extend(six(to_ip).octets());
        }
    }
    out.extend(from.port().to_be_bytes());
    out.extend(to.port().to_be_bytes());
    out.extend(short(udp).to_be_bytes());
    out.extend([0, 0]);
    out.extend_from_slice(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wav_head_says_how_long_it_is() {
        let head = wav_head(320);
        assert_eq!(&head[..16], b"RIFF\x64\x01\0\0WAVEfmt ");
        assert_eq!(&head[16..36], b"\x10\0\0\0\x01\0\x01\0\x40\x1F\0\0\x80\x3E\0\0\x02\0\x10\0");
        assert_eq!(&head[36..], b"data\x40\x01\0\0");
        assert_eq!(wav_head(u64::MAX)[4..8], [0xFF; 4], "as long as one can be");
        let played = [&head[..], &[1, 0, 2, 0]].concat();
        assert_eq!(crate::core::sound::read(&played, None).unwrap().samples(), [1, 2]);
    }

    /// A file of rtpengine 10.5 with one packet of 172 bytes, but for its time.
    #[test]
    fn a_pcap_is_that_of_rtpengine() {
        let mut file = pcap_head().to_vec();
        let [from, to] = [37_605, 38_812].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        pcap_packet(&mut file, 0x6B0E_E97F * 1_000_000 + 0x7_AD21, from, to, 172, &[0x80; 172]);
        let theirs = b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x65\0\0\0\x7f\xe9\x0e\x6b\x21\xad\x07\0\
            \xc8\0\0\0\xc8\0\0\0\x45\0\0\xc8\0\0\0\0\x40\x11\0\0\x7f\0\0\x01\x7f\0\0\x01\x92\xe5\x97\x9c\0\xb4\0\0";
        assert_eq!(&file[..theirs.len()], theirs);
        assert_eq!(file.len(), theirs.len() + 172);
        let mut six = Vec::new();
        let [from, to] = ["[2001:db8::1]:1000", "[2001:db8::2]:2000"].map(|a| a.parse().unwrap());
        pcap_packet(&mut six, 1, from, to, 9_000, &[7; 10]);
        assert_eq!(
            six[..16],
            [0, 0, 0, 0, 1, 0, 0, 0, 58, 0, 0, 0, 0x58, 0x23, 0, 0],
            "9,048 bytes, 58 kept"
        );
        assert_eq!(&six[16..24], [0x60, 0, 0, 0, 0x23, 0x30, 17, 64]);
        assert_eq!(six[56..66], [0x03, 0xE8, 0x07, 0xD0, 0x23, 0x30, 0, 0, 7, 7]);
    }
}
