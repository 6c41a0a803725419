//! Session keys of one direction and what they do to the bytes of one packet (RFC 3711 §4, RFC 6188, RFC 7714).

use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128Enc, Aes256Enc, Block};
use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::sdes::Suite;

/// Blocks of keystream made at once.
const PARALLEL: usize = 8;

/// AES in its two sizes.
#[derive(Clone)]
enum Aes {
    Short(Box<Aes128Enc>),
    Long(Box<Aes256Enc>),
}

impl Aes {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128Enc::new_from_slice(key).ok().map(|k| Self::Short(Box::new(k))),
            32 => Aes256Enc::new_from_slice(key).ok().map(|k| Self::Long(Box::new(k))),
            _ => None,
        }
    }

    fn encrypt(&self, blocks: &mut [Block]) {
        match self {
            Self::Short(aes) => aes.encrypt_blocks(blocks),
            Self::Long(aes) => aes.encrypt_blocks(blocks),
        }
    }

    /// Counter mode from `iv` on (RFC 3711 §4.1.1): the low 16 bits count blocks, so a packet has 2^16 blocks at most.
    fn apply_keystream(&self, iv: [u8; 16], data: &mut [u8]) {
        let first = u128::from_be_bytes(iv);
        let mut counter: u128 = 0;
        for chunk in data.chunks_mut(PARALLEL * 16) {
            let mut stream = [Block::default(); PARALLEL];
            let count = chunk.len().div_ceil(16);
            for block in stream.iter_mut().take(count) {
                block.copy_from_slice(&first.wrapping_add(counter).to_be_bytes());
                counter = counter.wrapping_add(1);
            }
            self.encrypt(stream.get_mut(..count).unwrap_or_default());
            for (bytes, block) in chunk.chunks_mut(16).zip(&stream) {
                for (byte, key) in bytes.iter_mut().zip(block) {
                    *byte ^= key;
                }
            }
        }
    }
}

/// AES-GCM in its two sizes.
#[derive(Clone)]
enum Gcm {
    Short(Box<Aes128Gcm>),
    Long(Box<Aes256Gcm>),
}

impl Gcm {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128Gcm::new_from_slice(key).ok().map(|k| Self::Short(Box::new(k))),
            32 => Aes256Gcm::new_from_slice(key).ok().map(|k| Self::Long(Box::new(k))),
            _ => None,
        }
    }

    fn seal(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8]) -> Option<[u8; 16]> {
        let nonce = nonce.into();
        let tag = match self {
            Self::Short(k) => k.encrypt_in_place_detached(&nonce, aad, data),
            Self::Long(k) => k.encrypt_in_place_detached(&nonce, aad, data),
        };
        tag.ok().map(Into::into)
    }

    /// False: the tag is wrong, and the data are not to be used.
    fn open(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8], tag: [u8; 16]) -> bool {
        let (nonce, tag) = (nonce.into(), tag.into());
        let opened = match self {
            Self::Short(k) => k.decrypt_in_place_detached(&nonce, aad, data, &tag),
            Self::Long(k) => k.decrypt_in_place_detached(&nonce, aad, data, &tag),
        };
        opened.is_ok()
    }
}

/// Keys of SRTP or of SRTCP.
#[derive(Clone)]
enum Keys {
    /// Counter mode and HMAC-SHA1; the salt stands in the upper 112 bits.
    Cm {
        aes: Aes,
        salt: [u8; 16],
        mac: Box<Hmac<Sha1>>,
        tag: usize,
    },
    Gcm {
        gcm: Gcm,
        salt: [u8; 12],
    },
}

/// Session keys of one direction, for SRTP and for SRTCP.
#[derive(Clone)]
pub struct SessionKeys {
    rtp: Keys,
    rtcp: Keys,
}

/// Never shows a key.
impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKeys")
    }
}

/// RFC 3711 §4.3.1: `length` bytes of the key stream for one label; key derivation rate 0.
fn derive(master: &Aes, salt: [u8; 14], label: u8, out: &mut [u8]) {
    let mut iv = [0u8; 16];
    for (to, from) in iv.iter_mut().zip(salt) {
        *to = from;
    }
    if let Some(at) = iv.get_mut(7) {
        *at ^= label;
    }
    out.fill(0);
    master.apply_keystream(iv, out);
}

impl SessionKeys {
    /// From the master key and salt of a suite. `None`: their lengths are not the suite's.
    pub fn derive(suite: Suite, master: &[u8]) -> Option<Self> {
        let (key, salt) = master.split_at_checked(suite.key_len())?;
        if salt.len() != suite.salt_len() {
            return None;
        }
        // The shorter salt of GCM is filled up with zeros (RFC 7714 §11).
        let mut padded = [0u8; 14];
        for (to, from) in padded.iter_mut().zip(salt) {
            *to = *from;
        }
        let aes = Aes::new(key)?;
        let keys = |first: u8, tag: usize| -> Option<Keys> {
            let (mut key, mut mac, mut salt) = ([0u8; 32], [0u8; 20], [0u8; 14]);
            let key = key.get_mut(..suite.key_len())?;
            derive(&aes, padded, first, key);
            derive(&aes, padded, first.wrapping_add(1), &mut mac);
            derive(&aes, padded, first.wrapping_add(2), &mut salt);
            if suite.is_gcm() {
                return Some(Keys::Gcm { gcm: Gcm::new(key)?, salt: *salt.first_chunk()? });
            }
            let mut wide = [0u8; 16];
            wide.first_chunk_mut::<14>()?.copy_from_slice(&salt);
            let mac = Box::new(<Hmac<Sha1> as KeyInit>::new_from_slice(&mac).ok()?);
            Some(Keys::Cm { aes: Aes::new(key)?, salt: wide, mac, tag })
        };
        // SRTCP always has the long tag (RFC 4568 §6.2.2, RFC 6188 §5.1).
        Some(Self { rtp: keys(0, suite.tag_len())?, rtcp: keys(3, 10)? })
    }

    /// Bytes behind an SRTP packet's ciphertext.
    pub(super) fn rtp_tag(&self) -> usize {
        self.rtp.tag()
    }

    /// The same of SRTCP, without the word of the index.
    pub(super) fn rtcp_tag(&self) -> usize {
        self.rtcp.tag()
    }

    /// Whether the word of the SRTCP index stands behind the tag (GCM) or before it.
    pub(super) fn is_gcm(&self) -> bool {
        matches!(self.rtp, Keys::Gcm { .. })
    }

    /// Encrypts the part behind `header` and writes the tag. `whole` is header, payload and room for the tag.
    pub(super) fn seal_rtp(&self, whole: &mut [u8], header: usize, ssrc: u32, index: u64) -> Option<()> {
        let length = whole.len().checked_sub(self.rtp_tag())?;
        let (packet, tag) = whole.split_at_mut_checked(length)?;
        let roc = ((index >> 16) as u32).to_be_bytes();
        match &self.rtp {
            Keys::Cm { aes, salt, mac, .. } => {
                aes.apply_keystream(cm_iv(*salt, ssrc, index), packet.get_mut(header..)?);
                tag.copy_from_slice(sum(mac, &[packet, &roc]).get(..tag.len())?);
            }
            Keys::Gcm { gcm, salt } => {
                let (aad, payload) = packet.split_at_mut_checked(header)?;
                let nonce = gcm_nonce(*salt, ssrc, index);
                tag.copy_from_slice(&gcm.seal(nonce, aad, payload)?);
            }
        }
        Some(())
    }

    /// Checks the tag, then decrypts. `whole` is header, ciphertext and tag; it is spoilt when this fails.
    pub(super) fn open_rtp(&self, whole: &mut [u8], header: usize, ssrc: u32, index: u64) -> Option<()> {
        let length = whole.len().checked_sub(self.rtp_tag())?;
        let (packet, tag) = whole.split_at_mut_checked(length)?;
        let roc = ((index >> 16) as u32).to_be_bytes();
        match &self.rtp {
            Keys::Cm { aes, salt, mac, .. } => {
                is_same(sum(mac, &[packet, &roc]).get(..tag.len())?, tag)?;
                aes.apply_keystream(cm_iv(*salt, ssrc, index), packet.get_mut(header..)?);
                Some(())
            }
            Keys::Gcm { gcm, salt } => {
                let (aad, payload) = packet.split_at_mut_checked(header)?;
                let nonce = gcm_nonce(*salt, ssrc, index);
                gcm.open(nonce, aad, payload, *tag.first_chunk()?).then_some(())
            }
        }
    }

    /// As [`SessionKeys::seal_rtp`] for a compound: the first eight bytes stay readable. `word` is the index with the bit
    /// that says "encrypted"; the caller writes it in its place, before the tag (counter mode) or behind it (GCM).
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], word: u32, tag: &mut [u8]) -> Option<()> {
        let ssrc = u32::from_be_bytes(*packet.get(4..)?.first_chunk()?);
        let index = u64::from(word & 0x7FFF_FFFF);
        match &self.rtcp {
            Keys::Cm { aes, salt, mac, .. } => {
                aes.apply_keystream(cm_iv(*salt, ssrc, index), packet.get_mut(8..)?);
                tag.copy_from_slice(sum(mac, &[packet, &word.to_be_bytes()]).get(..tag.len())?);
            }
            Keys::Gcm { gcm, salt } => {
                let (head, rest) = packet.split_at_mut_checked(8)?;
                let aad = rtcp_aad(head, word)?;
                tag.copy_from_slice(&gcm.seal(gcm_nonce(*salt, ssrc, index), &aad, rest)?);
            }
        }
        Some(())
    }

    /// Checks the tag, then decrypts where `word` says that it is encrypted.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], word: u32, tag: &[u8]) -> Option<()> {
        let ssrc = u32::from_be_bytes(*packet.get(4..)?.first_chunk()?);
        let index = u64::from(word & 0x7FFF_FFFF);
        // Authenticated only (`UNENCRYPTED_SRTCP`): we never agree to that.
        if word & 0x8000_0000 == 0 {
            return None;
        }
        match &self.rtcp {
            Keys::Cm { aes, salt, mac, .. } => {
                is_same(sum(mac, &[packet, &word.to_be_bytes()]).get(..tag.len())?, tag)?;
                aes.apply_keystream(cm_iv(*salt, ssrc, index), packet.get_mut(8..)?);
                Some(())
            }
            Keys::Gcm { gcm, salt } => {
                let (head, rest) = packet.split_at_mut_checked(8)?;
                let aad = rtcp_aad(head, word)?;
                gcm.open(gcm_nonce(*salt, ssrc, index), &aad, rest, *tag.first_chunk()?).then_some(())
            }
        }
    }
}

impl Keys {
    fn tag(&self) -> usize {
        match self {
            Self::Cm { tag, .. } => *tag,
            Self::Gcm { .. } => 16,
        }
    }
}

fn sum(mac: &Hmac<Sha1>, parts: &[&[u8]]) -> [u8; 20] {
    let mut mac = mac.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Without a hint of where they differ.
fn is_same(a: &[u8], b: &[u8]) -> Option<()> {
    bool::from(subtle::ConstantTimeEq::ct_eq(a, b)).then_some(())
}

/// RFC 3711 §4.1.1: salt · 2^16 ⊕ SSRC · 2^64 ⊕ index · 2^16.
fn cm_iv(salt: [u8; 16], ssrc: u32, index: u64) -> [u8; 16] {
    let iv = u128::from_be_bytes(salt) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
    iv.to_be_bytes()
}

/// RFC 7714 §8.1 and §9.1: two zero bytes, SSRC, 48 bits of index (rollover counter and sequence number, or the SRTCP
/// index behind 17 zero bits), ⊕ salt.
fn gcm_nonce(salt: [u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let mut wide = [0u8; 16];
    for (to, from) in wide.iter_mut().skip(4).zip(salt) {
        *to = from;
    }
    let iv = u128::from_be_bytes(wide) ^ (u128::from(ssrc) << 48) ^ u128::from(index & 0xFFFF_FFFF_FFFF);
    let mut out = [0u8; 12];
    for (to, from) in out.iter_mut().zip(iv.to_be_bytes().into_iter().skip(4)) {
        *to = from;
    }
    out
}

/// RFC 7714 §9.2: the first eight bytes and the word of the index.
fn rtcp_aad(head: &[u8], word: u32) -> Option<[u8; 12]> {
    let mut aad = [0u8; 12];
    aad.first_chunk_mut::<8>()?.copy_from_slice(head.first_chunk::<8>()?);
    aad.last_chunk_mut::<4>()?.copy_from_slice(&word.to_be_bytes());
    Some(aad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn rfc_3711_b2_keystream_of_counter_mode() {
        let aes = Aes::new(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let iv: [u8; 16] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
        let mut stream = vec![0; 16 * 0xFF02];
        aes.apply_keystream(iv, &mut stream);
        let head = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(stream[..48], hex(head));
        let tail = "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44";
        assert_eq!(stream[16 * 0xFEFF..], hex(tail));
    }

    fn derived(master: &[u8], salt: &str, label: u8, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        derive(&Aes::new(master).unwrap(), hex(salt).try_into().unwrap(), label, &mut out);
        out
    }

    #[test]
    fn rfc_3711_b3_and_rfc_6188_7_3_key_derivation() {
        let (key, salt) = (hex("E1F97A0D3E018BE0D64FA32C06DE4139"), "0EC675AD498AFEEBB6960B3AABE6");
        assert_eq!(derived(&key, salt, 0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(&key, salt, 2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(derived(&key, salt, 1, 20), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
        let key = hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
        let salt = "3b04803de51ee7c96423ab5b78d2";
        let cipher = "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4";
        assert_eq!(derived(&key, salt, 0, 32), hex(cipher));
        assert_eq!(derived(&key, salt, 2, 14), hex("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(derived(&key, salt, 1, 20), hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }

    fn gcm(key: &str) -> SessionKeys {
        let keys =
            |salt: &str| Keys::Gcm { gcm: Gcm::new(&hex(key)).unwrap(), salt: hex(salt).try_into().unwrap() };
        SessionKeys { rtp: keys("517569642070726f2071756f"), rtcp: keys("517569642070726f2071756f") }
    }

    const SHORT: &str = "000102030405060708090a0b0c0d0e0f";
    const LONG: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn rfc_7714_16_srtp_with_gcm() {
        let plain = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573";
        for (key, sealed) in [
            (
                SHORT,
                "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
            ),
            (
                LONG,
                "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
            ),
        ] {
            let keys = gcm(key);
            let mut packet = hex(plain);
            packet.extend([0; 16]);
            keys.seal_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b).unwrap();
            assert_eq!(packet[12..], hex(sealed), "{key}");
            keys.open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b).unwrap();
            assert_eq!(packet[..packet.len() - 16], hex(plain));
        }
    }

    #[test]
    fn rfc_7714_17_srtcp_with_gcm() {
        let plain = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef";
        let sealed = "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b";
        let keys = gcm(SHORT);
        let (mut packet, mut tag) = (hex(plain), [0; 16]);
        keys.seal_rtcp(&mut packet, 0x8000_05d4, &mut tag).unwrap();
        let whole = [packet.clone(), tag.to_vec()].concat();
        assert_eq!(whole[..52], hex(sealed));
        assert_eq!(whole[52..], hex("c84aa458 96cf4d2f c5abf872 45d9eade"));
        keys.open_rtcp(&mut packet, 0x8000_05d4, &tag).unwrap();
        assert_eq!(packet, hex(plain));
    }
}
