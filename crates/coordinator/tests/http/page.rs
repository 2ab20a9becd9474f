//! The page about the admin API: made from the OpenAPI file, which the servers are held to.

use std::fmt::Write;

use expect_test::expect_file;
use serde_json::Value;

use crate::schema::Document;

const INTRODUCTION: &str = "\
# Admin API

What a coordinator answers under `/api/v1`, and where CollegeDB's coordinator is. A test makes this page from
[its OpenAPI file](openapi/admin.json) and holds servers to both. Bodies are JSON, whatever their content type says; `?` marks a field
that may be left out. Errors are a `Problem`, and a `Refusal` for CollegeDB's paths.
";

/// One shape, in a line.
fn shape(schema: &Value) -> String {
    if let Some(path) = schema["$ref"].as_str() {
        return path.rsplit('/').next().unwrap_or_default().to_owned();
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().map(shape).collect::<Vec<_>>().join(" or ");
    }
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
        return choices.join(" or ");
    }
    let (kind, or_null) = match &schema["type"] {
        Value::Array(kinds) => (kinds[0].as_str().unwrap_or_default(), " or null"),
        kind => (kind.as_str().unwrap_or_default(), ""),
    };
    let shape = match kind {
        "array" => format!("[{}]", shape(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("{{\"...\": {}}}", shape(&schema["additionalProperties"]))
        }
        "object" => format!("{{{}}}", fields(schema).join(", ")),
        kind => kind.to_owned(),
    };
    shape + or_null
}

/// The fields of an object: those that are always there, in the order of the file, then the others.
fn fields(schema: &Value) -> Vec<String> {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema["properties"].as_object();
    let optional = properties
        .into_iter()
        .flat_map(|properties| properties.keys());
    let optional = optional.filter(|name| !required.contains(&name.as_str()));
    let field = |name: &str, mark: &str| {
        let property = &schema["properties"][name];
        format!("\"{name}\"{mark}: {}", shape(property))
    };
    let always = required.iter().map(|name| field(name, ""));
    always
        .chain(optional.map(|name| field(name, "?")))
        .collect()
}

fn content(described: &Value) -> String {
    let content = &described["content"];
    let json = &content["application/json"]["schema"];
    match json {
        Value::Null => content["text/plain"]
            .as_object()
            .map(|_| "text".to_owned())
            .unwrap_or_default(),
        schema => format!("`{}`", shape(schema)),
    }
}

fn page(document: &Document) -> String {
    let root = document.root();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Requests\n\n| request | what it does | query | body | answer |\n");
    page.push_str("| --- | --- | --- | --- | --- |\n");
    for (path, methods) in root["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let query = parameters
                .filter(|parameter| parameter["in"] == "query")
                .filter_map(|parameter| parameter["name"].as_str())
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let body = content(&operation["requestBody"]);
            let successes = document.successes(method, path);
            let (_, answer) = successes.first().expect("it may succeed");
            let answer = content(answer);
            let method = method.to_uppercase();
            let summary = operation["summary"].as_str().unwrap_or_default();
            writeln!(
                page,
                "| `{method} {path}` | {summary} | {query} | {body} | {answer} |"
            )
            .expect("memory");
        }
    }
    page.push_str("\n## Shapes\n\n| name | shape |\n| --- | --- |\n");
    let schemas = root["components"]["schemas"].as_object();
    for (name, schema) in schemas.into_iter().flatten() {
        writeln!(page, "| `{name}` | `{}` |", shape(schema)).expect("memory");
    }
    page
}

#[test]
fn the_page_shows_what_the_file_says() {
    let document = Document::read("admin.json");
    expect_file!["../../../../docs/api.md"].assert_eq(&page(&document));
}
