//! Reading JSON bodies: strict (UTF-8, no key twice, limited depth, T-API-06).

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use warp_model::limits;

use super::error::{ApiError, Code};

/// Parses a body: UTF-8, JSON, at most [`limits::JSON_DEPTH`] levels, no key twice (T-API-06).
pub fn parse_json(body: &[u8]) -> Result<Value, ApiError> {
    let wrong = |message: String| ApiError::new(Code::InvalidJson, message);
    if std::str::from_utf8(body).is_err() {
        return Err(wrong("the body is not UTF-8".into()));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Strict { depth: 0 }.deserialize(&mut reader).map_err(|e| wrong(e.to_string()))?;
    reader.end().map_err(|e| wrong(e.to_string()))?;
    Ok(value)
}

struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = deeper(self.depth)?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Strict { depth })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = deeper(self.depth)?;
        let mut out = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Strict { depth })?;
            if out.insert(key, value).is_some() {
                return Err(serde::de::Error::custom("a key is there twice"));
            }
        }
        Ok(Value::Object(out))
    }
}

fn deeper<E: serde::de::Error>(depth: usize) -> Result<usize, E> {
    if depth >= limits::JSON_DEPTH { Err(E::custom("nested too deeply")) } else { Ok(depth + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t_api_06_keys_twice_and_deep_nesting_are_refused() {
        assert!(parse_json(br#"{"a":1,"a":2}"#).is_err());
        let deep = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        assert!(parse_json(&deep(64)).is_ok());
        assert!(parse_json(&deep(65)).is_err());
        assert!(parse_json(&deep(100_000)).is_err());
        assert!(parse_json(b"{\"a\":\"\xff\"}").is_err());
        assert!(parse_json(b"{} x").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_json(&bytes);
        }
    }
}
