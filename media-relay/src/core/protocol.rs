//! As what a media line is offered on: which changes of its protocol the relay has the means for.

use warp_ng::Transport;

use super::negotiate::Class;

/// What may be done about protection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// Keys of the SDP may be made for the other side.
    pub sdes: bool,
    /// Handshakes may be made with the other side.
    pub handshakes: bool,
    /// What was offered can be opened.
    pub opens: bool,
}

/// May the outgoing side's protocol differ like this? The feedback profile may come and go; protection where there are the
/// means.
pub fn outgoing_protocol(
    class: Class,
    offered: &[u8],
    wanted: Option<Transport>,
    means: Means,
) -> Option<&str> {
    let offered_text = std::str::from_utf8(offered).ok()?;
    let text = match wanted {
        None | Some(Transport::Accept) => offered_text,
        // Fax and other media are not RTP: the key does not speak of them.
        Some(_) if class == Class::Raw => offered_text,
        Some(wanted) => wanted.as_str(),
    };
    let may = match (class, if text == offered_text { class } else { Class::of(text.as_bytes()) }) {
        (Class::Foreign, _) => wanted.is_none_or(|w| w == Transport::Accept),
        (Class::Rtp, Class::Rtp) | (Class::Srtp, Class::Srtp) | (Class::Raw, Class::Raw) => true,
        (Class::Rtp, Class::Srtp) => means.sdes,
        (Class::Rtp, Class::Dtls) => means.handshakes,
        (Class::Srtp | Class::Dtls, Class::Rtp) => means.opens,
        (Class::Dtls, Class::Srtp) => means.opens && means.sdes,
        (Class::Srtp | Class::Dtls, Class::Dtls) => means.opens && means.handshakes,
        _ => false,
    };
    may.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_changes_only_into_what_can_be_made_of_it() {
        let transport = |text: &str| Transport::from_bytes(text.as_bytes()).unwrap();
        let (avp, savpf, dtls) =
            (transport("RTP/AVP"), transport("RTP/SAVPF"), transport("UDP/TLS/RTP/SAVPF"));
        let none = Means::default();
        let sdes = Means { sdes: true, ..none };
        let opens = Means { opens: true, ..none };
        let all = Means { sdes: true, handshakes: true, opens: true };
        let say = |offered: &'static str, wanted, means| {
            outgoing_protocol(Class::of(offered.as_bytes()), offered.as_bytes(), wanted, means)
        };
        for offered in ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "udptl", "TCP/MSRP"] {
            for wanted in [None, Some(Transport::Accept)] {
                assert_eq!(say(offered, wanted, none), Some(offered));
            }
        }
        for (offered, wanted, means, then) in [
            ("RTP/AVPF", avp, none, Some("RTP/AVP")),
            ("RTP/SAVP", savpf, none, Some("RTP/SAVPF")),
            // Keys can be made, or not.
            ("RTP/AVP", savpf, sdes, Some("RTP/SAVPF")),
            ("RTP/AVP", savpf, opens, None),
            // What is offered can be opened, or not.
            ("RTP/SAVP", avp, opens, Some("RTP/AVP")),
            ("RTP/SAVP", avp, sdes, None),
            // Fax stays what it is.
            ("udptl", avp, all, Some("udptl")),
            // Handshakes with one side or with both, or none.
            ("UDP/TLS/RTP/SAVP", avp, opens, Some("RTP/AVP")),
            ("UDP/TLS/RTP/SAVP", avp, sdes, None),
            ("UDP/TLS/RTP/SAVP", savpf, opens, None),
            ("UDP/TLS/RTP/SAVP", savpf, all, Some("RTP/SAVPF")),
            ("UDP/TLS/RTP/SAVP", dtls, all, Some("UDP/TLS/RTP/SAVPF")),
            ("UDP/TLS/RTP/SAVP", dtls, opens, None),
            ("RTP/AVP", dtls, all, Some("UDP/TLS/RTP/SAVPF")),
            ("RTP/AVP", dtls, sdes, None),
            ("RTP/SAVP", dtls, all, Some("UDP/TLS/RTP/SAVPF")),
            // Nobody here knows what that is.
            ("TCP/MSRP", savpf, all, None),
        ] {
            assert_eq!(say(offered, Some(wanted), means), then, "{offered} {wanted:?} {means:?}");
        }
    }
}
