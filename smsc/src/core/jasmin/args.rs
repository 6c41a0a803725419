//! The arguments of a request: read, checked in Jasmin's order, refused with Jasmin's words.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use warp_model::Secret;
use warp_smpp::tlv::{self, Tag};

use super::text::{form_decode, gsm, parts, unhex};
use super::{Credentials, Form, JasminRequest, Receipts, Refusal, Submission, What};

/// A request as HTTP brought it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Path without the query.
    pub path: &'a str,
    /// Behind the question mark.
    pub query: &'a [u8],
    /// The value of `Content-Type`, or empty.
    pub content_type: &'a str,
    /// The value of `Authorization`, or empty.
    pub authorization: &'a str,
    /// The body, or empty.
    pub body: &'a [u8],
}

/// Arguments of one request; what stands behind is not read.
const ARGUMENTS: usize = 64;
/// The longest `dlr-url`, in characters.
const URL_CHARS: usize = 2_048;

/// The form of the answers of a path; `None`: there is no such path.
pub fn form_of(path: &str) -> Option<Form> {
    match path {
        "/send" => Some(Form::Quoted),
        "/balance" | "/rate" => Some(Form::Json),
        "/secure/send" | "/secure/balance" | "/secure/rate" => Some(Form::Rest),
        _ => None,
    }
}

/// Understands a request. `most` is how many parts a long text may have. Errors: why it is refused.
pub fn read(request: &Request<'_>, most: usize) -> Result<JasminRequest, Refusal> {
    let path = request.path.strip_prefix("/secure").unwrap_or(request.path);
    let fields = match path {
        "/send" => SEND,
        "/rate" => RATE,
        _ => BALANCE,
    };
    let mut args = Args::of(request)?;
    if request.path.len() != path.len() {
        args.sign_in(request.authorization)?;
    }
    match path {
        "/send" => args.default_receipts(),
        "/balance" if args.0.is_empty() => {
            let text = "Mandatory arguments not found, please refer to the HTTPAPI specifications.";
            return Err(Refusal::Argument(text.to_owned()));
        }
        _ => {}
    }
    args.check(fields)?;
    let who = Credentials {
        user: args.text("username").unwrap_or_default(),
        password: Secret::new(args.text("password").unwrap_or_default()),
    };
    let what = match path {
        "/send" => What::Send(Box::new(args.submission(most, true)?)),
        "/rate" => What::Rate(Box::new(args.submission(most, false)?)),
        _ => What::Balance,
    };
    Ok(JasminRequest { who, what })
}

/// What an argument has to look like.
#[derive(Clone, Copy)]
enum Pattern {
    Any,
    Digits,
    Number,
    Coding,
    Name,
    Priority,
    Schedule,
    YesNo,
    Url,
    Level,
    Method,
    Tags,
}

struct Field(&'static str, bool, Pattern);

const fn must(name: &'static str, pattern: Pattern) -> Field {
    Field(name, true, pattern)
}

const fn may(name: &'static str, pattern: Pattern) -> Field {
    Field(name, false, pattern)
}

const SEND: &[Field] = &[
    must("to", Pattern::Digits),
    may("from", Pattern::Any),
    may("coding", Pattern::Coding),
    must("username", Pattern::Name),
    must("password", Pattern::Name),
    may("priority", Pattern::Priority),
    may("sdt", Pattern::Schedule),
    may("validity-period", Pattern::Number),
    must("dlr", Pattern::YesNo),
    may("dlr-url", Pattern::Url),
    may("dlr-level", Pattern::Level),
    may("dlr-method", Pattern::Method),
    may("tags", Pattern::Tags),
    may("content", Pattern::Any),
    may("hex-content", Pattern::Any),
    may("custom_tlvs", Pattern::Any),
];

const RATE: &[Field] = &[
    must("to", Pattern::Digits),
    may("from", Pattern::Any),
    may("coding", Pattern::Coding),
    must("username", Pattern::Name),
    must("password", Pattern::Name),
    may("priority", Pattern::Priority),
    may("validity-period", Pattern::Number),
    may("tags", Pattern::Tags),
    may("content", Pattern::Any),
    may("hex-content", Pattern::Any),
];

const BALANCE: &[Field] = &[must("username", Pattern::Name), must("password", Pattern::Name)];

impl Pattern {
    fn fits(self, value: &[u8]) -> bool {
        let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        match self {
            Pattern::Any => true,
            Pattern::Digits => digits(value.strip_prefix(b"+").unwrap_or(value)),
            Pattern::Number => digits(value),
            Pattern::Coding => matches!(
                value,
                b"0" | b"1" | b"2" | b"3" | b"4" | b"5" | b"6" | b"7" | b"8" | b"9" | b"10" | b"13" | b"14"
            ),
            Pattern::Name => (1..=16).contains(&value.len()) && !value.contains(&b'\n'),
            Pattern::Priority => matches!(value, [b'0'..=b'3']),
            Pattern::Schedule => {
                value.len() == 16
                    && value.split_last().is_some_and(|(sign, rest)| digits(rest) && b"+-R".contains(sign))
            }
            Pattern::YesNo => matches!(value, b"yes" | b"no"),
            Pattern::Url => value.starts_with(b"http://") || value.starts_with(b"https://"),
            Pattern::Level => matches!(value, [b'1'..=b'3']),
            Pattern::Method => value.eq_ignore_ascii_case(b"get") || value.eq_ignore_ascii_case(b"post"),
            Pattern::Tags => value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b',')),
        }
    }
}

/// Names and values in the order in which they came; the first of a name counts.
struct Args(Vec<(String, Argument)>);

enum Argument {
    Octets(Vec<u8>),
    /// A list or an object of JSON.
    Tree(Value),
}

impl Args {
    fn of(request: &Request<'_>) -> Result<Args, Refusal> {
        let mut args = Args(Vec::new());
        let kind = request.content_type.split(';').next().unwrap_or_default().trim();
        let is_json = kind.eq_ignore_ascii_case("application/json");
        let form =
            if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") { request.body } else { &[] };
        for (name, value) in
            form_decode(request.query, ARGUMENTS).into_iter().chain(form_decode(form, ARGUMENTS))
        {
            args.add(String::from_utf8_lossy(&name).into_owned(), Argument::Octets(value));
        }
        if is_json && !request.body.is_empty() {
            let Ok(Value::Object(object)) = serde_json::from_slice(request.body) else {
                return Err(Refusal::Argument("The body is no JSON object.".to_owned()));
            };
            for (name, value) in object.into_iter().take(ARGUMENTS) {
                // The REST API takes underscores as well.
                let name = if name == "custom_tlvs" { name } else { name.replace('_', "-") };
                let value = match value {
                    Value::String(text) => Argument::Octets(text.into_bytes()),
                    Value::Number(number) => Argument::Octets(number.to_string().into_bytes()),
                    Value::Null => continue,
                    Value::Bool(yes) => Argument::Octets(if yes { b"yes".to_vec() } else { b"no".to_vec() }),
                    tree => Argument::Tree(tree),
                };
                args.add(name, value);
            }
        }
        Ok(args)
    }

    fn add(&mut self, name: String, value: Argument) {
        if self.0.len() < ARGUMENTS && !self.0.iter().any(|(known, _)| *known == name) {
            self.0.push((name, value));
        }
    }

    fn octets(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).and_then(|(_, value)| match value {
            Argument::Octets(octets) => Some(octets.as_slice()),
            Argument::Tree(_) => None,
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        self.octets(name).map(|octets| String::from_utf8_lossy(octets).into_owned())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// User and password of `Authorization: Basic`.
    fn sign_in(&mut self, header: &str) -> Result<(), Refusal> {
        let (scheme, rest) = header.split_once(' ').ok_or(Refusal::NoCredentials)?;
        let pair = STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
        let pair = pair.ok_or(Refusal::NoCredentials)?;
        let at = pair.iter().position(|b| *b == b':').ok_or(Refusal::NoCredentials)?;
        let (user, password) = pair.split_at_checked(at).ok_or(Refusal::NoCredentials)?;
        self.0.retain(|(name, _)| name != "username" && name != "password");
        self.0.push(("username".to_owned(), Argument::Octets(user.to_vec())));
        self.0.push(("password".to_owned(), Argument::Octets(password.iter().skip(1).copied().collect())));
        Ok(())
    }

    /// What follows from other arguments: asking where to or how far is asking for receipts.
    fn default_receipts(&mut self) {
        let put = |args: &mut Args, name: &str, value: &[u8]| {
            args.0.push((name.to_owned(), Argument::Octets(value.to_vec())));
        };
        if self.has("dlr-url") || self.has("dlr-level") {
            self.0.retain(|(name, _)| name != "dlr");
            put(self, "dlr", b"yes");
        }
        if !self.has("dlr") {
            put(self, "dlr", b"no");
        }
        if self.octets("dlr") == Some(b"yes") {
            if !self.has("dlr-level") {
                put(self, "dlr-level", b"1");
            }
            if !self.has("dlr-method") {
                put(self, "dlr-method", b"POST");
            }
        }
    }

    fn check(&self, fields: &[Field]) -> Result<(), Refusal> {
        let refused = |text: String| Err(Refusal::Argument(text));
        for (name, _) in &self.0 {
            if !fields.iter().any(|field| field.0 == name) {
                return refused(format!("Argument [{}] is unknown.", shown(name.as_bytes())));
            }
            // All fields at the first argument, as Jasmin does: with it stands which error is told when there are several.
            for Field(name, mandatory, pattern) in fields {
                match self.octets(name) {
                    Some(value) if !pattern.fits(value) => {
                        // A password is not said back, not even to who sent it.
                        let value = if *name == "password" { "***".to_owned() } else { shown(value) };
                        return refused(format!("Argument [{name}] has an invalid value: [{value}]."));
                    }
                    None if *mandatory && !self.has(name) => {
                        return refused(format!("Mandatory argument [{name}] is not found."));
                    }
                    _ => {}
                }
            }
        }
        match fields.iter().find(|field| field.1 && !self.has(field.0)) {
            Some(field) => refused(format!("Mandatory argument [{}] is not found.", field.0)),
            None => Ok(()),
        }
    }

    fn submission(&self, most: usize, send: bool) -> Result<Submission, Refusal> {
        let refused = |text: &str| Refusal::Argument(text.to_owned());
        let invalid = |name: &str, value: &[u8]| {
            Refusal::Argument(format!("Argument [{name}] has an invalid value: [{}].", shown(value)))
        };
        let number = |name: &str| self.text(name).and_then(|text| text.parse::<u8>().ok());
        let coding = number("coding").unwrap_or(0);
        let text = match (self.octets("content"), self.octets("hex-content")) {
            (Some(_), Some(_)) => {
                return Err(refused("content and hex-content cannot be used both in same request."));
            }
            (None, None) if send => return Err(refused("content or hex-content not present.")),
            (None, None) => Vec::new(),
            (None, Some(hex)) => unhex(hex)
                .ok_or_else(|| Refusal::Argument(format!("Invalid hex-content data: 'b'{}''", shown(hex))))?,
            (Some(content), None) if coding == 0 => {
                let text = std::str::from_utf8(content).map_err(|_| invalid("content", content))?;
                gsm(text)
            }
            // Otherwise the octets are as the network gets them.
            (Some(content), None) => content.to_vec(),
        };
        let parts = parts(&text, coding, most).map_err(|needed| {
            Refusal::Argument(format!(
                "The content needs {needed} parts, more than the {most} that are allowed."
            ))
        })?;
        let to = self.text("to").unwrap_or_default();
        let to = to.strip_prefix('+').unwrap_or(&to).to_owned();
        if to.len() > ADDRESS {
            return Err(invalid("to", to.as_bytes()));
        }
        let from = self.octets("from").unwrap_or_default();
        if from.len() > ADDRESS || from.iter().any(|b| !matches!(b, b' '..=b'~')) {
            return Err(invalid("from", from));
        }
        let url = self.octets("dlr-url").unwrap_or_default();
        if url.len() > URL_CHARS || !url.iter().all(u8::is_ascii_graphic) {
            return Err(invalid("dlr-url", url));
        }
        let tags = self.text("tags").unwrap_or_default();
        let minutes = self.text("validity-period");
        let receipts = (self.octets("dlr") == Some(b"yes") && !url.is_empty()).then(|| Receipts {
            level: number("dlr-level").unwrap_or(1),
            post: !self.octets("dlr-method").is_some_and(|m| m.eq_ignore_ascii_case(b"get")),
            url: String::from_utf8_lossy(url).into_owned(),
        });
        Ok(Submission {
            to,
            from: String::from_utf8_lossy(from).into_owned(),
            coding,
            priority: number("priority").unwrap_or(0),
            schedule: self.text("sdt").unwrap_or_default(),
            // One that is longer than can be counted is as long as can be.
            validity_minutes: minutes.map(|text| text.parse().unwrap_or(u32::MAX)),
            text,
            parts,
            tags: tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
            tlvs: self.tlvs()?,
            receipts,
        })
    }

    /// `custom_tlvs`: a list of [tag, length, type, value].
    fn tlvs(&self) -> Result<Vec<u8>, Refusal> {
        let given = self.0.iter().find(|(name, _)| name == "custom_tlvs");
        let wrong = || Refusal::Argument("Argument [custom_tlvs] has an invalid value.".to_owned());
        let parsed;
        let list = match given.map(|(_, value)| value) {
            None => return Ok(Vec::new()),
            Some(Argument::Tree(Value::Array(list))) => list,
            Some(Argument::Octets(text)) => {
                parsed = serde_json::from_slice::<Vec<Value>>(text).map_err(|_| wrong())?;
                &parsed
            }
            Some(Argument::Tree(_)) => return Err(wrong()),
        };
        let mut out = Vec::new();
        for item in list {
            let Some([tag, _, kind, value]) = item.as_array().map(Vec::as_slice) else { return Err(wrong()) };
            let tag = match tag {
                Value::String(text) => match text.strip_prefix("0x") {
                    Some(hex) => u16::from_str_radix(hex, 16).ok(),
                    None => text.parse().ok(),
                },
                other => other.as_u64().and_then(|n| u16::try_from(n).ok()),
            };
            let (tag, kind) = (tag.ok_or_else(wrong)?, kind.as_str().ok_or_else(wrong)?);
            // Those that we write ourselves would stand there twice.
            if tag == Tag::MESSAGE_PAYLOAD.0 {
                return Err(wrong());
            }
            let number = || value.as_u64().or_else(|| value.as_str()?.parse().ok()).ok_or_else(wrong);
            let value = match kind {
                "Int1" => vec![u8::try_from(number()?).map_err(|_| wrong())?],
                "Int2" => u16::try_from(number()?).map_err(|_| wrong())?.to_be_bytes().to_vec(),
                "Int4" => u32::try_from(number()?).map_err(|_| wrong())?.to_be_bytes().to_vec(),
                "OctetString" => value.as_str().ok_or_else(wrong)?.as_bytes().to_vec(),
                "COctetString" => {
                    let mut text = value.as_str().ok_or_else(wrong)?.as_bytes().to_vec();
                    text.push(0);
                    text
                }
                _ => return Err(wrong()),
            };
            if out.len().saturating_add(value.len()) > TLV_BYTES || !tlv::push(&mut out, Tag(tag), &value) {
                return Err(wrong());
            }
        }
        Ok(out)
    }
}

/// Octets of an address.
const ADDRESS: usize = 20;
/// Octets of all `custom_tlvs` together.
const TLV_BYTES: usize = 4_096;
/// Characters of a value that are said back.
const SHOWN: usize = 200;

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value).chars().take(SHOWN).collect()
}
