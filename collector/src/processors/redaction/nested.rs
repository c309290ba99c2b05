//! Arrays and maps: their texts and numbers, by the keys they stand under. They rest as JSON (see the model's `nested`), whose
//! order and types stay.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{MASK, Redaction};

/// A JSON text with the members of objects in their order, which `serde_json::Value` would sort.
enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// An array or map as an attribute has it. `None`: there is nothing to mask in it.
pub(super) fn mask(redaction: &Redaction, text: &str) -> serde_json::Result<Option<String>> {
    let mut json: Json = serde_json::from_str(text)?;
    let found = mask_json(redaction, &mut json);
    found.then(|| serde_json::to_string(&json)).transpose()
}

/// A list of `{"key":…,"value":…}` as OTLP/JSON has it. A value with something to mask goes as a whole.
pub(super) fn mask_key_values(redaction: &Redaction, text: &str) -> serde_json::Result<Option<String>> {
    let Json::List(mut items) = serde_json::from_str(text)? else { return Ok(None) };
    let mut found = false;
    for item in &mut items {
        let Json::Object(members) = item else { continue };
        let key = members.iter().find_map(|(name, value)| match value {
            Json::Text(key) if name == "key" => Some(key.clone()),
            _ => None,
        });
        let masks_key = redaction.masks_key(&key.unwrap_or_default());
        for (_, value) in members.iter_mut().filter(|(name, _)| name == "value") {
            if masks_key || mask_json(redaction, value) {
                *value = Json::Object(vec![("stringValue".to_owned(), Json::mask())]);
                found = true;
            }
        }
    }
    found.then(|| serde_json::to_string(&Json::List(items))).transpose()
}

/// Whether something was masked.
fn mask_json(redaction: &Redaction, json: &mut Json) -> bool {
    let masked = match json {
        Json::Null | Json::Bool(_) => None,
        Json::Int(number) => redaction.mask_text(&number.to_string()),
        Json::Double(number) => redaction.mask_text(&format!("{number:?}")),
        Json::Text(text) => redaction.mask_text(text),
        Json::List(items) => return any(items.iter_mut().map(|item| mask_json(redaction, item))),
        Json::Object(members) => return mask_object(redaction, members),
    };
    match masked {
        Some(text) => *json = Json::Text(text),
        None => return false,
    }
    true
}

/// The model spells some values as an object with one of three names.
fn mask_object(redaction: &Redaction, members: &mut [(String, Json)]) -> bool {
    match members {
        [(name, Json::Text(base64))] if name == "bytesValue" => {
            let hides = redaction.hides(base64);
            if hides {
                *base64 = String::new();
            }
            hides
        }
        [(name, Json::List(pairs))] if name == "kvlistValue" => any(pairs.iter_mut().map(|pair| match pair {
            Json::List(pair) => match pair.as_mut_slice() {
                [Json::Text(key), value] => mask_member(redaction, key, value),
                _ => false,
            },
            _ => false,
        })),
        members => any(members.iter_mut().map(|(key, value)| mask_member(redaction, key, value))),
    }
}

/// Only an attribute's own key is looked for among those that are allowed.
fn mask_member(redaction: &Redaction, key: &str, value: &mut Json) -> bool {
    let masks_key = redaction.keys_masked.is_match(key);
    match masks_key {
        true => *value = Json::mask(),
        false => return mask_json(redaction, value),
    }
    true
}

/// All of them are asked, whatever the first says.
fn any(found: impl Iterator<Item = bool>) -> bool {
    found.fold(false, |any, found| any | found)
}

impl Json {
    fn mask() -> Json {
        Json::Text(MASK.to_owned())
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Json, D::Error> {
        from.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        i64::try_from(value).map(Json::Int).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => to.serialize_unit(),
            Json::Bool(value) => to.serialize_bool(*value),
            Json::Int(value) => to.serialize_i64(*value),
            Json::Double(value) => to.serialize_f64(*value),
            Json::Text(value) => to.serialize_str(value),
            Json::List(items) => to.collect_seq(items),
            Json::Object(members) => {
                let mut map = to.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}
