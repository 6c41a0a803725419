//! OpenAPI 3.0.3 from the endpoint table. utoipa's schemas speak a later version of the standard; [`down_convert`] brings
//! them to 3.0.3 (PRODUCT §6), [`check`] says whether a document keeps the rules that tools trip over.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::endpoint::{Access, Audience, Endpoint, QueryDoc, Returns, Takes, TypeDoc};
use super::error::Code;
use crate::app::fault::Problem;
use crate::app::input::OPERATORS_WORDS;
use crate::app::paging::PAGE_USUAL;

/// The document of one audience.
pub fn document(endpoints: &[Endpoint], audience: Audience) -> Value {
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for e in endpoints.iter().filter(|e| shown(e, audience)) {
        let operation = operation(e, &mut schemas);
        paths.entry(e.path).or_default().insert(e.method.as_str().to_ascii_lowercase(), operation);
    }
    note(&super::endpoint::doc::<Problem>(), &mut schemas);
    schemas.insert("Meta".into(), meta_schema());
    schemas.insert("Error".into(), error_schema());
    let (title, what) = match audience {
        Audience::Customer => ("WARP customer API", "What a customer sees and changes: its own things only."),
        Audience::Operator => ("WARP operator API", "What the carrier's staff sees and changes."),
    };
    for schema in schemas.values_mut() {
        speak_to(audience, schema);
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": title,
            "version": "1",
            "description": format!("{what} Every answer has the envelope {{success, data, meta}}; errors carry a code of a closed list."),
            "license": { "name": "Apache-2.0" }
        },
        "externalDocs": { "url": "/api/docs", "description": "The pages for people" },
        "servers": [{ "url": "/" }],
        "security": [{ "api_key": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "api_key": { "type": "http", "scheme": "bearer", "description": "An API key: wk_live_… or wk_test_…" }
            },
            "schemas": schemas,
            "responses": { "Error": {
                "description": "An error; the status follows the code.",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } }
            } }
        }
    })
}

/// Takes from lists of words those that this audience may not say.
fn speak_to(audience: Audience, schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| speak_to(audience, item)),
        Value::Object(map) => {
            let marked = map.remove(OPERATORS_WORDS);
            if let (Audience::Customer, Some(Value::Array(theirs)), Some(Value::Array(words))) =
                (audience, marked, map.get_mut("enum"))
            {
                words.retain(|word| !theirs.contains(word));
            }
            map.values_mut().for_each(|inner| speak_to(audience, inner));
        }
        _ => {}
    }
}

fn shown(e: &Endpoint, audience: Audience) -> bool {
    match e.access {
        Access::Public => audience == Audience::Customer,
        Access::Browser(a) | Access::Anyone(a) | Access::Scope(a, _) => a == audience,
    }
}

fn operation(e: &Endpoint, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut parameters: Vec<Value> = path_parts(e.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    for q in &e.query {
        parameters.push(query_parameter(e, q, schemas));
    }
    if e.method == axum::http::Method::POST && !matches!(e.access, Access::Public | Access::Browser(_)) {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": e.keyed,
            "description": "A key of your own for this request. The same request with the same key gives the first answer again for 24 hours, and is not carried out twice.",
            "schema": { "type": "string", "pattern": format!("^[!-~]{{1,{}}}$", super::edge::IDEMPOTENCY_KEY_BYTES) }
        }));
    }
    let changes = [axum::http::Method::PUT, axum::http::Method::PATCH].contains(&e.method);
    // Each declared noun has a version.
    let deletes_versioned = e.method == axum::http::Method::DELETE && e.noun.is_some();
    let versioned = match &e.returns {
        Returns::One(_, t) => {
            note(t, schemas);
            has_version(&(t.name)(), schemas)
        }
        _ => false,
    };
    if (changes && versioned) || deletes_versioned {
        parameters.push(json!({
            "name": "If-Match", "in": "header",
            "description": "The ETag that was read, or several with commas. When the object has another version, the answer is 412 and nothing is changed.",
            "schema": { "type": "string", "maxLength": super::edge::IF_MATCH_BYTES }
        }));
    }
    let mut out = json!({
        "operationId": operation_id(e),
        "summary": e.summary,
        "tags": [tag(e.path)],
        "responses": { "default": { "$ref": "#/components/responses/Error" } }
    });
    if !parameters.is_empty() {
        out["parameters"] = Value::Array(parameters);
    }
    match e.access {
        Access::Public | Access::Browser(_) => out["security"] = json!([]),
        Access::Anyone(_) => {}
        Access::Scope(_, permission) => {
            let scope = permission.as_str();
            out["description"] = json!(format!("{}. The key needs the scope `{scope}`.", e.summary));
        }
    }
    let body = match &e.takes {
        Takes::Nothing => None,
        Takes::Json(t) => Some(json!({ "application/json": { "schema": note(t, schemas) } })),
        Takes::Patch(t) => {
            note(t, schemas);
            let name = format!("{}Patch", (t.name)());
            let patch = patch_of(schemas.get(&(t.name)()).unwrap_or(&Value::Null));
            schemas.entry(name.clone()).or_insert(patch);
            let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
            Some(
                json!({ "application/merge-patch+json": { "schema": schema.clone() }, "application/json": { "schema": schema } }),
            )
        }
        Takes::Csv(_) => Some(json!({
            "text/csv": { "schema": { "type": "string" } },
            (super::edge::XLSX): { "schema": { "type": "string", "format": "binary" } }
        })),
    };
    if let Some(mut content) = body {
        for media in content.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if let Some(example) = e.sent {
                media["example"] = example();
            }
        }
        out["requestBody"] = json!({ "required": true, "content": content });
    }
    let (status, mut content) = match &e.returns {
        Returns::One(status, t) => (*status, enveloped(note(t, schemas))),
        Returns::Page(t) => (200, enveloped(json!({ "type": "array", "items": note(t, schemas) }))),
        Returns::Moved => (302, json!({})),
        Returns::Nothing => (200, enveloped(json!({ "nullable": true }))),
        Returns::Raw(content_type) => {
            let essence = content_type.split(';').next().unwrap_or(content_type);
            let kind = if essence == "application/json" { "object" } else { "string" };
            (200, json!({ essence: { "schema": { "type": kind } } }))
        }
    };
    if let (Some(noun), Access::Scope(audience, _), Returns::One(_, t) | Returns::Page(t)) =
        (e.noun, e.access, &e.returns)
        && let Some(schema) = schemas.get_mut(&(t.name)())
    {
        noun.published(audience, schema);
    }
    if let (Some(example), Access::Scope(audience, _)) = (e.seen, e.access) {
        let page = matches!(e.returns, Returns::Page(_));
        content["application/json"]["example"] = answer_example(example(audience), page);
    }
    out["responses"][status.to_string()] = json!({ "description": e.summary, "content": content });
    let text = |what: &str| json!({ "description": what, "schema": { "type": "string" } });
    if versioned {
        let etag = text("The version of the object, for If-Match.");
        out["responses"][status.to_string()]["headers"]["ETag"] = etag;
    }
    if e.query.iter().any(|q| q.json.is_some()) {
        // The server of HTTP itself says so, before anything of ours has read the request.
        let what = "The head of the request, with its query, has more than 16 KiB.";
        out["responses"]["431"] = json!({ "description": what });
    }
    if status == 201 || status == 302 {
        let location = text(if status == 201 {
            "Where what was made can be read."
        } else {
            "Where the browser goes on."
        });
        out["responses"][status.to_string()]["headers"]["Location"] = location;
    }
    out
}

/// A parameter of the query with the form of its values.
fn query_parameter(e: &Endpoint, q: &QueryDoc, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut parameter = json!({ "name": q.name, "in": "query", "description": q.description });
    if q.required {
        parameter["required"] = json!(true);
    }
    if let Some(t) = &q.json {
        parameter["content"] = json!({ "application/json": { "schema": note(t, schemas) } });
        return parameter;
    }
    let mut schema = serde_json::to_value(q.schema()).unwrap_or(Value::Null);
    down_convert(&mut schema);
    if let Some(map) = schema.as_object_mut() {
        // What it says stands beside the schema.
        map.remove("description");
        match q.name {
            "cursor" => drop(map.insert("pattern".into(), e.cursor.pattern().into())),
            "limit" => drop(map.insert("default".into(), PAGE_USUAL.into())),
            _ => {}
        }
        let words = map.contains_key("enum") || map.contains_key("format");
        if map.get("type") == Some(&"string".into()) && !words {
            // The form may say less than the parameter's own bound.
            let form = map.get("maxLength").and_then(Value::as_u64);
            let most = form.map_or(q.most, |m| q.most.min(usize::try_from(m).unwrap_or(q.most)));
            map.insert("maxLength".into(), most.into());
        }
        if map.get("type") == Some(&"array".into()) {
            parameter["style"] = json!("form");
            parameter["explode"] = json!(false);
        }
    }
    parameter["schema"] = schema;
    parameter
}

/// A merge patch of an object (RFC 7396): each field may be absent, and null takes one away that need not be there.
fn patch_of(whole: &Value) -> Value {
    let mut patch = whole.clone();
    if let Value::Object(map) = &mut patch {
        let required = map.remove("required").unwrap_or_default();
        let must = |name: &str| required.as_array().is_some_and(|r| r.iter().any(|n| n == name));
        for (name, field) in map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            let Some(field) = field.as_object_mut().filter(|f| !must(name) && !f.contains_key("nullable"))
            else {
                continue;
            };
            field.insert("nullable".into(), true.into());
            if let Some(Value::Array(words)) = field.get_mut("enum") {
                words.push(Value::Null);
            }
        }
        let what = "A JSON merge patch (RFC 7396): fields that are absent stay as they are, null takes a field away.";
        map.insert("description".into(), what.into());
    }
    patch
}

/// Whether an object shows its version, itself or by a part that is flattened into it: then its answers carry an ETag.
fn has_version(name: &str, schemas: &BTreeMap<String, Value>) -> bool {
    let Some(schema) = schemas.get(name) else { return false };
    let parts = schema["allOf"].as_array().cloned().unwrap_or_default();
    std::iter::once(schema).chain(&parts).any(|part| {
        let target = part["$ref"].as_str().and_then(|r| r.strip_prefix("#/components/schemas/"));
        part["properties"].get("version").is_some() || target.is_some_and(|t| has_version(t, schemas))
    })
}

/// An example in its envelope.
fn answer_example(seen: Value, page: bool) -> Value {
    let mut meta =
        json!({ "timestamp": "2026-11-30T12:00:00.000Z", "request_id": "req_06f7jv8d0a5r2x9c7mz3b6n4qe" });
    if page {
        meta["next_cursor"] = Value::Null;
        meta["has_more"] = false.into();
    }
    json!({ "success": true, "data": if page { json!([seen]) } else { seen }, "meta": meta })
}

fn enveloped(data: Value) -> Value {
    json!({ "application/json": { "schema": {
        "type": "object",
        "required": ["success", "data", "meta"],
        "properties": {
            "success": { "type": "boolean", "enum": [true] },
            "data": data,
            "meta": { "$ref": "#/components/schemas/Meta" }
        }
    } } })
}

fn meta_schema() -> Value {
    json!({
        "type": "object",
        "required": ["timestamp", "request_id"],
        "properties": {
            "timestamp": {
                "type": "string", "format": "date-time", "description": "When the answer was written."
            },
            "request_id": {
                "type": "string",
                "description": "The id of the request. Name it when you ask us about an answer."
            },
            "next_cursor": {
                "type": "string", "nullable": true,
                "description": "In lists: the cursor of the next page. Null: this is the last page."
            },
            "has_more": { "type": "boolean", "description": "In lists: whether there is a next page." },
            "last_cursor": {
                "type": "string",
                "description": "In lists that grow at their end (sort=posted_at): the cursor to read on from later."
            }
        }
    })
}

fn error_schema() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|c| c.as_str()).collect();
    json!({
        "type": "object",
        "required": ["success", "error", "meta"],
        "properties": {
            "success": { "type": "boolean", "enum": [false] },
            "error": {
                "type": "object",
                "required": ["code", "message", "doc_url"],
                "properties": {
                    "code": {
                        "type": "string", "enum": codes,
                        "description": "What kind of error it is. The list is closed."
                    },
                    "message": { "type": "string", "description": "What is wrong, in one sentence." },
                    "field": { "type": "string", "description": "The field that is wrong, when it is one." },
                    "hint": { "type": "string", "description": "What to do about it." },
                    "doc_url": { "type": "string", "description": "Where this error is explained." },
                    "details": {
                        "type": "array", "items": { "$ref": "#/components/schemas/FieldProblem" },
                        "description": "All fields that are wrong, at once."
                    }
                }
            },
            "meta": { "$ref": "#/components/schemas/Meta" }
        }
    })
}

/// Adds a type and what it refers to; gives the reference.
fn note(t: &TypeDoc, schemas: &mut BTreeMap<String, Value>) -> Value {
    let mut all = vec![((t.name)(), (t.schema)())];
    (t.others)(&mut all);
    for (name, schema) in all {
        let mut value = serde_json::to_value(schema).unwrap_or(Value::Null);
        down_convert(&mut value);
        schemas.entry(name).or_insert(value);
    }
    json!({ "$ref": format!("#/components/schemas/{}", (t.name)()) })
}

/// Brings a schema of JSON Schema 2020-12 to what 3.0.3 knows: `nullable`, `example`, `enum` of one, no `null` type.
pub fn down_convert(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(down_convert),
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get("type").cloned() {
                let kept: Vec<Value> = types.iter().filter(|t| *t != "null").cloned().collect();
                if kept.len() < types.len() {
                    map.insert("nullable".into(), true.into());
                }
                match kept.as_slice() {
                    [one] => map.insert("type".into(), one.clone()),
                    _ => map.remove("type"),
                };
            }
            for key in ["oneOf", "anyOf"] {
                let Some(Value::Array(options)) = map.get(key).cloned() else { continue };
                let kept: Vec<Value> =
                    options.iter().filter(|o| o.get("type") != Some(&"null".into())).cloned().collect();
                if kept.len() < options.len() {
                    map.insert("nullable".into(), true.into());
                    if kept.len() == 1 {
                        map.remove(key);
                        map.insert("allOf".into(), Value::Array(kept));
                    } else {
                        map.insert(key.into(), Value::Array(kept));
                    }
                }
            }
            if let Some(Value::Array(examples)) = map.remove("examples")
                && let Some(first) = examples.into_iter().next()
            {
                map.insert("example".into(), first);
            }
            if let Some(constant) = map.remove("const") {
                map.insert("enum".into(), json!([constant]));
            }
            // 3.0.3 ignores what stands beside $ref: allOf carries the reference.
            if map.len() > 1
                && let Some(target) = map.remove("$ref")
            {
                map.insert("allOf".into(), json!([{ "$ref": target }]));
            }
            map.remove("propertyNames");
            map.remove("$schema");
            map.values_mut().for_each(down_convert);
        }
        _ => {}
    }
}

/// What is wrong with a document as OpenAPI 3.0.3; empty when nothing is.
pub fn check(document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if document["openapi"] != "3.0.3" {
        faults.push("openapi is not 3.0.3".into());
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, op) in item.as_object().into_iter().flatten() {
            let id = op["operationId"].as_str().unwrap_or("");
            if id.is_empty() || !ids.insert(id.to_owned()) {
                faults.push(format!("{method} {path}: operationId {id:?} is missing or used twice"));
            }
            let declared: Vec<&str> = op["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|p| p["in"] == "path")
                .filter_map(|p| p["name"].as_str())
                .collect();
            if declared != path_parts(path).collect::<Vec<_>>() {
                faults.push(format!("{method} {path}: path parameters are not those of the path"));
            }
            if op["responses"].as_object().is_none_or(Map::is_empty) {
                faults.push(format!("{method} {path}: no responses"));
            }
        }
    }
    walk(document, document, "#", &mut faults);
    faults
}

fn walk(root: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                walk(root, item, &format!("{at}/{i}"), faults);
            }
        }
        Value::Object(map) => {
            // Below "properties" the keys are names of fields, not keywords.
            let keywords = !at.ends_with("/properties") && !at.ends_with("/schemas");
            if keywords {
                for word in ["const", "examples", "$defs", "propertyNames", "prefixItems"] {
                    if map.contains_key(word) {
                        faults.push(format!("{at}: 3.0.3 knows no {word}"));
                    }
                }
                if map.get("type").is_some_and(|t| !t.is_string() || t == "null") {
                    faults.push(format!("{at}: type must be one word, not null"));
                }
                for word in ["exclusiveMinimum", "exclusiveMaximum"] {
                    if map.get(word).is_some_and(Value::is_number) {
                        faults.push(format!("{at}: {word} must be a boolean"));
                    }
                }
                if map.get("type") == Some(&"array".into()) && !map.contains_key("items") {
                    faults.push(format!("{at}: an array without items"));
                }
            }
            if let Some(Value::String(target)) = map.get("$ref") {
                let pointer = target.strip_prefix('#').unwrap_or("");
                if root.pointer(pointer).is_none() {
                    faults.push(format!("{at}: {target} leads nowhere"));
                }
                if map.len() > 1 {
                    faults.push(format!("{at}: keys beside $ref are ignored by 3.0.3"));
                }
            }
            for (key, inner) in map {
                walk(root, inner, &format!("{at}/{key}"), faults);
            }
        }
        _ => {}
    }
}

fn path_parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}'))
}

fn operation_id(e: &Endpoint) -> String {
    let mut id = e.method.as_str().to_ascii_lowercase();
    for part in e.path.trim_start_matches("/api/v1").split('/').filter(|p| !p.is_empty()) {
        id.push('_');
        id.extend(
            part.chars()
                .filter(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '-')
                .map(|c| if c == '-' { '_' } else { c }),
        );
    }
    id
}

fn tag(path: &str) -> &str {
    let rest = path.trim_start_matches("/api/v1").trim_start_matches("/admin").trim_start_matches('/');
    rest.split('/').next().filter(|t| !t.is_empty() && !t.starts_with('{')).unwrap_or("api")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_words_become_those_of_3_0_3() {
        let mut v = json!({
            "type": ["string", "null"], "examples": ["a", "b"],
            "properties": { "x": { "oneOf": [{ "type": "null" }, { "$ref": "#/x" }] }, "y": { "const": 3 },
                "z": { "anyOf": [{ "$ref": "#/x" }, { "type": "string" }] } }
        });
        down_convert(&mut v);
        assert_eq!(
            v,
            json!({
                "type": "string", "nullable": true, "example": "a",
                "properties": { "x": { "nullable": true, "allOf": [{ "$ref": "#/x" }] }, "y": { "enum": [3] },
                    "z": { "anyOf": [{ "$ref": "#/x" }, { "type": "string" }] } }
            })
        );
    }

    #[test]
    fn the_check_finds_faults() {
        let bad = json!({ "openapi": "3.0.3", "paths": { "/a/{id}": { "get": { "operationId": "x", "responses": {} } } },
            "components": { "schemas": { "A": { "type": ["string"] }, "B": { "$ref": "#/nowhere" } } } });
        assert_eq!(check(&bad).len(), 4, "{:?}", check(&bad));
    }
}
