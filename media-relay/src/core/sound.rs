//! Files of sounds: what is read of them, and the tones of keys.
//!
//! RIFF WAVE (PCM of 8 or 16 bits, G.711 of either law) and Sun/NeXT audio (G.711 µ-law and A-law, 8- and 16-bit linear), one or more
//! channels (mixed), 8,000 samples a second: there is no resampler, and another rate is refused with its reason. Files
//! without a head are taken by the end of their name. Pure; every byte is hostile: sizes are those of what is there.

use std::time::Duration;

use warp_media::g711::{from_pcma, from_pcmu};
use warp_media::play::{Clip, HZ};

/// Bytes of a file at most: twenty minutes of G.711.
pub const FILE_BYTES: u64 = 10 << 20;
/// Channels of a file at most.
const CHANNELS: u16 = 8;

/// How samples stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Pcmu,
    Pcma,
    Unsigned8,
    Signed8,
    Little16,
    Big16,
}

impl Coding {
    fn bytes(self) -> usize {
        if matches!(self, Self::Little16 | Self::Big16) { 2 } else { 1 }
    }

    fn sample(self, bytes: &[u8]) -> i16 {
        match (self, bytes) {
            (Self::Pcmu, [b, ..]) => from_pcmu(*b),
            (Self::Pcma, [b, ..]) => from_pcma(*b),
            (Self::Unsigned8, [b, ..]) => i16::from_be_bytes([b ^ 0x80, 0]),
            (Self::Signed8, [b, ..]) => i16::from_be_bytes([*b, 0]),
            (Self::Little16, [a, b, ..]) => i16::from_le_bytes([*a, *b]),
            (Self::Big16, [a, b, ..]) => i16::from_be_bytes([*a, *b]),
            _ => 0,
        }
    }
}

/// The samples of a file. `name`: of a file without a head. Errors: why it cannot be played, for the client.
pub fn read(bytes: &[u8], name: Option<&str>) -> Result<Clip, String> {
    if let Some(rest) = bytes.strip_prefix(b"RIFF") {
        return wave(rest.get(4..).unwrap_or_default());
    }
    if let Some(rest) = bytes.strip_prefix(b".snd") {
        return sun(bytes, rest);
    }
    let ending = name.and_then(|n| n.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
    let coding = match ending.as_deref() {
        Some("ul" | "ulaw" | "mulaw" | "pcmu" | "mu") => Coding::Pcmu,
        Some("al" | "alaw" | "pcma") => Coding::Pcma,
        Some("l16") => Coding::Big16,
        Some("sln" | "raw" | "slin") => Coding::Little16,
        _ => return Err("neither WAV nor AU, and no name of a raw file (.ul .al .l16 .sln)".to_owned()),
    };
    clip(coding, 1, bytes)
}

fn word16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// Behind `RIFF` and its length: `WAVE`, then chunks.
fn wave(bytes: &[u8]) -> Result<Clip, String> {
    let mut rest = bytes.strip_prefix(b"WAVE").ok_or("RIFF, but not WAVE")?;
    let mut format = None;
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, size @ ..] = *head;
        // The length of what is streamed may be wrong: no more than is there.
        let size = usize::try_from(u32::from_le_bytes(size)).unwrap_or(usize::MAX).min(behind.len());
        let (chunk, next) = behind.split_at_checked(size).unwrap_or((behind, &[]));
        match &[a, b, c, d] {
            b"fmt " => format = Some(wave_format(chunk)?),
            b"data" => {
                let (coding, channels) = format.ok_or("samples without a format")?;
                return clip(coding, channels, chunk);
            }
            _ => {}
        }
        rest = if size & 1 == 1 { next.get(1..).unwrap_or_default() } else { next };
    }
    Err("a WAV file without samples".to_owned())
}

fn wave_format(chunk: &[u8]) -> Result<(Coding, u16), String> {
    let short = || "a format that is cut off".to_owned();
    let mut tag = word16(chunk, 0).ok_or_else(short)?;
    let channels = word16(chunk, 2).ok_or_else(short)?;
    let rate = word32(chunk, 4).ok_or_else(short)?;
    let bits = word16(chunk, 14).ok_or_else(short)?;
    if tag == 0xFFFE {
        // WAVE_FORMAT_EXTENSIBLE: the tag begins its sub-format.
        tag = word16(chunk, 24).ok_or_else(short)?;
    }
    let coding = match (tag, bits) {
        (1, 8) => Coding::Unsigned8,
        (1, 16) => Coding::Little16,
        (6, 8) => Coding::Pcma,
        (7, 8) => Coding::Pcmu,
        _ => {
            return Err(format!(
                "WAV of format {tag} with {bits} bits: PCM of 8 or 16 bits, A-law or µ-law are played"
            ));
        }
    };
    only_8000(rate)?;
    Ok((coding, channels))
}

fn only_8000(rate: u32) -> Result<(), String> {
    match rate == HZ {
        true => Ok(()),
        false => Err(format!("{rate} samples a second: only 8000 are played")),
    }
}

/// `.snd`: where the samples begin, their length, coding, rate and channels, the high byte first.
fn sun(bytes: &[u8], rest: &[u8]) -> Result<Clip, String> {
    let word = |n: usize| {
        let at = n.checked_mul(4)?;
        rest.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
    };
    let [Some(begin), Some(coding), Some(rate), Some(channels)] = [word(0), word(2), word(3), word(4)] else {
        return Err("an AU head that is cut off".to_owned());
    };
    let coding = match coding {
        1 => Coding::Pcmu,
        2 => Coding::Signed8,
        3 => Coding::Big16,
        27 => Coding::Pcma,
        other => return Err(format!("AU of coding {other}: 1, 2, 3 and 27 are played")),
    };
    only_8000(rate)?;
    let begin = usize::try_from(begin).unwrap_or(usize::MAX);
    clip(coding, u16::try_from(channels).unwrap_or(0), bytes.get(begin..).unwrap_or_default())
}

fn clip(coding: Coding, channels: u16, bytes: &[u8]) -> Result<Clip, String> {
    if !(1..=CHANNELS).contains(&channels) {
        return Err(format!("{channels} channels: 1 to {CHANNELS} are played"));
    }
    let frame = coding.bytes().saturating_mul(usize::from(channels));
    let mix = |frame: &[u8]| {
        let sum: i32 = frame.chunks_exact(coding.bytes()).map(|b| i32::from(coding.sample(b))).sum();
        i16::try_from(sum.checked_div(i32::from(channels)).unwrap_or(0)).unwrap_or(0)
    };
    let samples: Vec<i16> = bytes.chunks_exact(frame.max(1)).map(mix).collect();
    Clip::new(samples).ok_or_else(|| "no samples".to_owned())
}

/// Tones of the sixteen keys (ITU-T Q.23): of a row, of a column, Hz.
const ROWS: [u16; 4] = [697, 770, 852, 941];
const COLUMNS: [u16; 4] = [1_209, 1_336, 1_477, 1_633];

/// Row and column of an event (RFC 4733 §3.2).
fn place(event: u8) -> Option<(usize, usize)> {
    const KEYPAD: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];
    KEYPAD.iter().enumerate().find_map(|(row, keys)| Some((row, keys.iter().position(|k| *k == event)?)))
}

/// A key as the sum of its two tones, then silence. `volume`: of each tone, dBm0 below nothing. `None`: no such key.
#[allow(clippy::float_arithmetic)] // sound
pub fn tones(event: u8, volume: u8, lasts: Duration, pause: Duration) -> Option<Clip> {
    let (row, column) = place(event)?;
    let [low, high] = [*ROWS.get(row)?, *COLUMNS.get(column)?].map(f64::from);
    let count = |d: Duration| usize::try_from(d.as_millis().saturating_mul(u128::from(HZ) / 1_000)).ok();
    // A sine of 0 dBm0 peaks 3.14 dB (A-law) or 3.17 dB (µ-law) below the largest value (G.711).
    let peak = 32_767.0 * 10f64.powf((-3.17 - f64::from(volume.min(63))) / 20.0);
    // Both tones together must fit.
    let peak = peak.min(16_383.0);
    let wave = |hz: f64, n: usize| (std::f64::consts::TAU * hz * n as f64 / f64::from(HZ)).sin();
    let mut samples: Vec<i16> =
        (0..count(lasts)?).map(|n| ((wave(low, n) + wave(high, n)) * peak) as i16).collect();
    samples.resize(samples.len().saturating_add(count(pause)?), 0);
    Clip::new(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(tag: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\xFF\xFF\xFF\x7FWAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        file.extend(tag.to_le_bytes());
        file.extend(channels.to_le_bytes());
        file.extend(rate.to_le_bytes());
        file.extend([0; 6]);
        file.extend(bits.to_le_bytes());
        file.extend(b"data\xFF\xFF\xFF\xFF");
        file.extend(data);
        file
    }

    fn samples(file: &[u8], name: Option<&str>) -> Result<Vec<i16>, String> {
        read(file, name).map(|clip| clip.samples().to_vec())
    }

    #[test]
    fn each_form_gives_its_samples() {
        assert_eq!(samples(&wav(1, 1, 8_000, 16, &[1, 0, 0xFF, 0xFF, 9]), None), Ok(vec![1, -1]));
        assert_eq!(samples(&wav(1, 1, 8_000, 8, &[0x80, 0xFF, 0]), None), Ok(vec![0, 0x7F00, -0x8000]));
        assert_eq!(samples(&wav(1, 2, 8_000, 16, &[2, 0, 4, 0]), None), Ok(vec![3]), "channels are mixed");
        assert_eq!(samples(&wav(7, 1, 8_000, 8, &[0x80, 0xFF]), None), Ok(vec![32_124, 0]));
        assert_eq!(samples(&wav(6, 1, 8_000, 8, &[0xAA, 0xD5]), None), Ok(vec![32_256, 8]));
        let au = |coding: u8, data: &[u8]| {
            [
                b".snd\0\0\0\x1C\xFF\xFF\xFF\xFF\0\0\0".as_slice(),
                &[coding],
                b"\0\0\x1F\x40\0\0\0\x01note",
                data,
            ]
            .concat()
        };
        assert_eq!(samples(&au(1, &[0x80]), None), Ok(vec![32_124]));
        assert_eq!(samples(&au(27, &[0xAA]), None), Ok(vec![32_256]));
        assert_eq!(samples(&au(3, &[1, 2]), None), Ok(vec![0x102]));
        assert_eq!(samples(&[1, 2], Some("x.l16")), Ok(vec![0x102]));
        assert_eq!(samples(&[1, 2], Some("x.SLN")), Ok(vec![0x201]));
        assert_eq!(samples(&[0x80], Some("a.b.ul")), Ok(vec![32_124]));
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_its_reason() {
        for (file, name, why) in [
            (wav(1, 1, 16_000, 16, &[0; 4]), None, "16000 samples a second"),
            (wav(3, 1, 8_000, 32, &[0; 4]), None, "format 3"),
            (wav(1, 0, 8_000, 16, &[0; 4]), None, "0 channels"),
            (wav(1, 9, 8_000, 16, &[0; 40]), None, "9 channels"),
            (wav(1, 1, 8_000, 16, &[]), None, "no samples"),
            (b"RIFF\0\0\0\0AVI ".to_vec(), None, "not WAVE"),
            (b".snd\0".to_vec(), None, "cut off"),
            (b"ID3".to_vec(), Some("x.mp3"), "neither WAV nor AU"),
            (Vec::new(), None, "neither"),
        ] {
            let found = samples(&file, name).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
        // Every part of a file, and every file with one byte changed, is judged without a panic.
        let whole = wav(1, 2, 8_000, 16, &[7; 32]);
        for at in 0..whole.len() {
            let _ = read(&whole[..at], None);
            for byte in [0, 1, 0x7F, 0xFF] {
                let mut bent = whole.clone();
                bent[at] = byte;
                let _ = read(&bent, None);
            }
        }
    }

    /// Energy of a tone, by Goertzel.
    fn energy(samples: &[i16], hz: u16) -> f64 {
        let k = 2.0 * (std::f64::consts::TAU * f64::from(hz) / 8_000.0).cos();
        let (mut a, mut b) = (0.0, 0.0);
        for sample in samples {
            (a, b) = (f64::from(*sample) + k * a - b, a);
        }
        (a * a + b * b - k * a * b).sqrt() / samples.len() as f64
    }

    #[test]
    fn a_key_is_its_two_tones_and_then_silence() {
        let ms = Duration::from_millis;
        for (event, row, column) in
            [(1, 697, 1_209), (5, 770, 1_336), (0, 941, 1_336), (11, 941, 1_477), (15, 941, 1_633)]
        {
            let clip = tones(event, 8, ms(100), ms(50)).unwrap();
            let (said, quiet) = clip.samples().split_at(800);
            assert_eq!(quiet, [0; 400]);
            for hz in ROWS.into_iter().chain(COLUMNS) {
                let is_loud = energy(said, hz) > 2_000.0;
                assert_eq!(is_loud, hz == row || hz == column, "{event}: {hz} Hz {}", energy(said, hz));
            }
        }
        assert!(tones(16, 8, ms(100), ms(50)).is_none());
        let loud = tones(1, 0, ms(100), ms(0)).unwrap();
        assert!(loud.samples().iter().all(|s| s.unsigned_abs() < 32_767));
    }
}
