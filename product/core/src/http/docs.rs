//! The description of the API as a page for people: made once from the OpenAPI document, without a script and without
//! anything from elsewhere.

use std::fmt::{self, Display, Formatter, Write};

use serde_json::Value;

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
section{border-top:1px solid #d0d7de;padding:1rem 0}h3{font-family:ui-monospace,monospace}h3 b{color:#0550ae}\
table{border-collapse:collapse;width:100%;margin:.5rem 0}caption{text-align:left;color:#57606a}\
td{border:1px solid #d0d7de;padding:.25rem .5rem;vertical-align:top}\
td:first-child{font-family:ui-monospace,monospace;width:12rem}";

/// The page of `document`, which is our own: whatever it refers to is in it.
pub(super) fn page(document: &Value) -> Result<String, fmt::Error> {
    let mut page = String::new();
    let (title, about) = (Text(&document["info"]["title"]), Text(&document["info"]["description"]));
    write!(page, "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>")?;
    write!(page, "<h1>{title}</h1><p>{about}<p>For programs: <a href=/openapi.json>/openapi.json</a>")?;
    for tag in document["tags"].as_array().into_iter().flatten() {
        write!(page, "<h2>{}</h2><p>{}", Text(&tag["name"]), Text(&tag["description"]))?;
        for (path, method, operation) in
            operations(document).filter(|(.., operation)| operation["tags"][0] == tag["name"])
        {
            write!(page, "<section><h3><b>{}</b> {path}</h3>", method.to_uppercase())?;
            describe(&mut page, document, operation)?;
            write!(page, "</section>")?;
        }
    }
    Ok(page)
}

/// (path, method, operation)
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    document["paths"].as_object().into_iter().flatten().flat_map(|(path, item)| {
        item.as_object()
            .into_iter()
            .flatten()
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn describe(page: &mut String, document: &Value, operation: &Value) -> fmt::Result {
    let about = [&operation["summary"], &operation["description"]].map(Text);
    write!(page, "<p><strong>{}</strong><p>{}", about[0], about[1])?;
    if operation["security"].is_array() {
        write!(page, "<p>Needs <code>Authorization: Bearer &lt;token&gt;</code>.")?;
    }
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters = parameters.map(|parameter| (parameter["name"].as_str().unwrap_or_default(), parameter));
    table(
        page,
        "Parameters",
        parameters.map(|(name, parameter)| (name, &parameter["schema"], &parameter["description"])),
    )?;
    for (kind, body) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
        let fields = fields(document, &body["schema"]);
        table(
            page,
            &format!("Body, {kind}"),
            fields.iter().map(|(name, field)| (*name, *field, &field["description"])),
        )?;
    }
    write!(page, "<table><caption>Answers</caption>")?;
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let names: Vec<_> = fields(document, &answer["content"]["application/json"]["schema"])
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        write!(page, "<tr><td>{status}<td>{}<td>{}", Text(&answer["description"]), names.join(", "))?;
    }
    write!(page, "</table>")
}

/// Rows of (name, schema, description); nothing at all when there are none.
fn table<'a>(
    page: &mut String,
    caption: &str,
    rows: impl Iterator<Item = (&'a str, &'a Value, &'a Value)>,
) -> fmt::Result {
    for (nth, (name, schema, description)) in rows.enumerate() {
        if nth == 0 {
            write!(page, "<table><caption>{caption}</caption>")?;
        }
        write!(page, "<tr><td>{name}<td>{}<td>{}", Text(&schema["type"]), Text(description))?;
    }
    write!(page, "</table>")
}

/// The properties of a schema, those of the schemas it refers to or is made of included.
fn fields<'a>(document: &'a Value, schema: &'a Value) -> Vec<(&'a str, &'a Value)> {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = document.pointer(reference.trim_start_matches('#'));
        return found.map(|schema| fields(document, schema)).unwrap_or_default();
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, field)| (name.as_str(), field));
    parts.flat_map(|part| fields(document, part)).chain(own).collect()
}

/// A string of the document as HTML; nothing where there is none. A type may be several words.
struct Text<'a>(&'a Value);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(&text.replace('&', "&amp;").replace('<', "&lt;")),
            Value::Array(texts) => texts.iter().try_for_each(|text| write!(f, "{} ", Text(text))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_operation_of_a_tag_is_on_the_page() {
        let page = page(&json!({
            "info": { "title": "Shop", "description": "a < b" },
            "tags": [{ "name": "tea", "description": "" }],
            "paths": { "/tea": { "post": {
                "tags": ["tea"], "summary": "Brew",
                "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Leaf" } } } },
                "responses": { "201": { "description": "Brewed" } },
            } } },
            "components": { "schemas": { "Leaf": { "allOf": [
                { "properties": { "kind": { "type": "string", "description": "green or black" } } },
            ] } } },
        }))
        .unwrap();
        for part in ["a &lt; b", "<b>POST</b> /tea", "<td>kind<td>string<td>green or black", "<td>201<td>Brewed"] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
    }
}
