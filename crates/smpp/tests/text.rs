//! Alphabets, headers, splitting and joining of short messages.

use std::time::Duration;

use proptest::prelude::*;
use warp_model::Mono;
use warp_smpp::text::alphabet::{encode_ucs2, pack, unpack};
use warp_smpp::text::gsm::Shift;
use warp_smpp::text::udh::{Concatenation, write_concatenation};
use warp_smpp::text::{
    Alphabet, DataCoding, Joined, Joiner, Part, Reference, Udh, decode, encode_best, encode_gsm, split,
};

const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCXYZÄÖÑÜ§¿abcxyzäöñüà\u{0C}^{}\\[~]|€";

fn plain(octets: &[u8], alphabet: Alphabet) -> String {
    decode(octets, alphabet, Shift::default()).unwrap()
}

#[test]
fn the_default_alphabet_and_its_extension() {
    let mut out = Vec::new();
    encode_gsm(GSM, &mut out).unwrap();
    assert_eq!(plain(&out, Alphabet::Default), GSM);
    // TS 23.038 §6.2.1: known places.
    out.clear();
    encode_gsm("@Δ à€{", &mut out).unwrap();
    assert_eq!(out, [0x00, 0x10, 0x20, 0x7F, 0x1B, 0x65, 0x1B, 0x28]);
    assert_eq!(encode_gsm("ok ☃", &mut out), Err('☃'));
    assert_eq!(out.len(), 8, "nothing was appended");
    assert_eq!(plain(&[0x1B], Alphabet::Default), "\u{FFFD}");
    assert_eq!(plain(&[0x1B, 0x41], Alphabet::Default), "A", "an unknown escape is the character itself");
}

#[test]
fn national_tables_are_chosen_by_the_header() {
    let of = |header: &[u8], text: &[u8]| {
        let payload = [header, text].concat();
        let (udh, text) = Udh::split(&payload).unwrap();
        decode(text, Alphabet::Default, udh.shift()).unwrap()
    };
    assert_eq!(of(&[3, 0x24, 1, 1], &[0x1B, 0x69, 0x1B, 0x65, 0x69]), "ı€i", "Turkish, single shift");
    assert_eq!(of(&[3, 0x25, 1, 1], &[0x07, 0x60, 0x41]), "ıçA", "Turkish, locking shift");
    assert_eq!(of(&[3, 0x24, 1, 2], &[0x1B, 0x61]), "á");
    assert_eq!(of(&[3, 0x25, 1, 3], &[0x7B, 0x24]), "ãº");
    assert_eq!(of(&[3, 0x24, 1, 99], &[0x1B, 0x65]), "€", "a language without tables here");
}

#[test]
fn other_alphabets() {
    assert_eq!(plain(b"caf\xE9", Alphabet::Latin1), "café");
    assert_eq!(plain(b"a\xFF", Alphabet::Ia5), "a\u{FFFD}");
    assert_eq!(plain(&[0xBF, 0xE0, 0xD8, 0xF0], Alphabet::Cyrillic), "Пр\u{0438}№");
    assert_eq!(plain(&[0xF9, 0xEC, 0xE5, 0xED], Alphabet::Hebrew), "שלום");
    assert_eq!(plain(&[0xD8, 0x3D, 0xDE, 0x00, 0x00, 0x41, 0xD8], Alphabet::Ucs2), "😀A\u{FFFD}");
    assert_eq!(decode(b"x", Alphabet::Binary, Shift::default()), None);
    let mut out = Vec::new();
    assert_eq!((encode_best("ok", &mut out), out.len()), (DataCoding::DEFAULT, 2));
    out.clear();
    assert_eq!((encode_best("ok 😀", &mut out), out.len()), (DataCoding::UCS2, 10));
}

#[test]
fn hello_packed_is_that_of_the_books() {
    let mut out = Vec::new();
    pack(b"hellohello", 0, &mut out);
    assert_eq!(out, [0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37]);
}

#[test]
fn t_sms_09_a_header_that_lies_is_refused() {
    for lie in [&[5u8, 0, 3, 1, 2][..], &[9, 0, 3, 1, 2, 1], &[4, 0, 3, 1, 2, 1], &[1, 0], &[]] {
        assert_eq!(Udh::split(lie), None, "{lie:?}");
    }
    // Part 0, and part 4 of 3: as if it were not there (TS 23.040 §9.2.3.24.1).
    for wrong in [[5u8, 0, 3, 7, 3, 0], [5, 0, 3, 7, 3, 4], [5, 0, 3, 7, 0, 0]] {
        assert_eq!(Udh::split(&wrong).unwrap().0.concatenation(), None);
    }
}

#[test]
fn t_sms_09_parts_are_bounded_in_number_and_time() {
    let mut joiner = Joiner::new(2, Duration::from_secs(300));
    let part = |key: u8, reference, number, text: &str| Part {
        key,
        place: Concatenation { reference, total: 3, number, wide: false },
        text: text.into(),
    };
    assert_eq!(joiner.push(part(1, 7, 3, "c"), Mono(0)), Joined::Waiting);
    assert_eq!(joiner.push(part(1, 7, 3, "x"), Mono(0)), Joined::Duplicate);
    // Another handset with the same reference is another message.
    assert_eq!(joiner.push(part(2, 7, 1, "A"), Mono(5)), Joined::Waiting);
    assert_eq!(joiner.push(part(3, 7, 1, "z"), Mono(5)), Joined::Full);
    assert_eq!(joiner.push(part(1, 7, 1, "a"), Mono(6)), Joined::Waiting);
    assert_eq!(joiner.push(part(1, 7, 2, "b"), Mono(7)), Joined::Whole(b"abc".to_vec()));
    // The reference begins again: the old time is not its time.
    assert_eq!(joiner.push(part(1, 7, 2, "B"), Mono(1_000)), Joined::Waiting);
    let life = 300_000_000_000;
    assert_eq!(joiner.expired(Mono(life - 1)), None);
    assert_eq!(joiner.expired(Mono(life + 5)), Some((2, b"A".to_vec())));
    assert_eq!(joiner.expired(Mono(life + 5)), None);
    assert_eq!(joiner.expired(Mono(life + 1_000)), Some((1, b"B".to_vec())));
    assert_eq!((joiner.open(), joiner.deadline()), (0, None));
}

fn texts() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(GSM.chars().chain("aaaa€€€😀щ".chars()).collect::<Vec<_>>()),
        0..700,
    )
    .prop_map(|list| list.into_iter().collect())
}

proptest! {
    #[test]
    fn parts_fit_cut_no_character_and_join_to_the_text(text in texts(), udh16 in any::<bool>()) {
        let mut octets = Vec::new();
        let coding = encode_best(&text, &mut octets);
        let alphabet = coding.alphabet();
        let (reference, header) = if udh16 { (Reference::Udh16, 7) } else { (Reference::Udh8, 6) };
        let parts = split(&octets, alphabet, reference, 255).unwrap();
        let room = if parts.len() == 1 { alphabet.capacity(0) } else { alphabet.capacity(header) };
        let mut joiner = Joiner::new(1, Duration::from_secs(300));
        let mut read = String::new();
        let mut whole = None;
        for (range, number) in parts.iter().zip(1u8..) {
            prop_assert!(range.len() <= room && (parts.len() == 1 || !range.is_empty()));
            let part = &octets[range.clone()];
            read.push_str(&plain(part, alphabet));
            let place = Concatenation { reference: 0x1234, total: parts.len() as u8, number, wide: udh16 };
            let mut payload = Vec::new();
            write_concatenation(place, &mut payload);
            prop_assert_eq!(payload.len(), header);
            payload.extend_from_slice(part);
            let (udh, text) = Udh::split(&payload).unwrap();
            let seen = udh.concatenation().unwrap();
            prop_assert_eq!((seen.total, seen.number, seen.wide), (place.total, number, udh16));
            if let Joined::Whole(all) = joiner.push(Part { key: (), place: seen, text: text.to_vec() }, Mono(0)) {
                whole = Some(all);
            }
        }
        prop_assert_eq!(read, text.clone(), "no part begins or ends within a character");
        prop_assert_eq!(whole, Some(octets.clone()));
        // As few parts as can be: all but the last hold all that would fit but one character.
        for range in parts.iter().rev().skip(1) {
            prop_assert!(range.len() + 2 >= room || parts.len() == 1);
        }
        if parts.len() > 1 {
            prop_assert_eq!(split(&octets, alphabet, reference, parts.len() - 1), Err(parts.len()));
        }
    }

    #[test]
    fn packed_septets_unpack(septets in prop::collection::vec(0u8..128, 0..200), fill in 0u32..7) {
        let (mut packed, mut back) = (Vec::new(), Vec::new());
        pack(&septets, fill, &mut packed);
        prop_assert_eq!(packed.len(), (septets.len() * 7 + fill as usize).div_ceil(8));
        unpack(&packed, fill, septets.len(), &mut back);
        prop_assert_eq!(back, septets);
    }

    #[test]
    fn ucs2_of_any_text_is_read_back(text in any::<String>()) {
        let mut out = Vec::new();
        encode_ucs2(&text, &mut out);
        prop_assert_eq!(plain(&out, Alphabet::Ucs2), text);
    }
}
