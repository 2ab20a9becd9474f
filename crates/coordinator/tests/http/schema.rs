//! JSON against the schemas of an OpenAPI file, and which parts of the file were used.

use std::{cell::RefCell, collections::BTreeSet, fs, path::Path};

use serde_json::Value;

/// An OpenAPI file.
pub(crate) struct Document {
    root: Value,
    /// The properties of named schemas that were seen in some message: `Ping.term`.
    seen: RefCell<BTreeSet<String>>,
    /// The answers that were checked: `get /api/v1/nodes 200`.
    answered: RefCell<BTreeSet<String>>,
}

/// What may stand in a schema without being checked.
const NOTES: [&str; 1] = ["description"];

impl Document {
    pub(crate) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi");
        let text = fs::read_to_string(path.join(name)).expect("the file is there");
        Self {
            root: serde_json::from_str(&text).expect("JSON"),
            seen: RefCell::default(),
            answered: RefCell::default(),
        }
    }

    /// The whole file.
    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// Checks a message against a named schema.
    #[track_caller]
    pub(crate) fn check(&self, schema: &str, message: &Value) {
        let named = serde_json::json!({"$ref": format!("#/components/schemas/{schema}")});
        if let Err(why) = self.fits(&named, message, "") {
            panic!("no {schema}: {why} in {message}");
        }
    }

    /// Checks a request's body and what came back against the operation.
    #[track_caller]
    pub(crate) fn check_call(
        &self,
        method: &str,
        path: &str,
        body: &str,
        status: u16,
        answer: &str,
    ) {
        let operation = &self.root["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not described");
        let request = &operation["requestBody"];
        if !body.is_empty() && matches!(status, 200 | 202) {
            let body = serde_json::from_str(body).expect("JSON");
            let schema = &request["content"]["application/json"]["schema"];
            let fits = self.fits(schema, &body, "");
            fits.unwrap_or_else(|why| panic!("{method} {path}: {why} in {body}"));
        }
        let response = &operation["responses"][status.to_string()];
        assert!(
            response.is_object(),
            "{method} {path}: {status} is not described"
        );
        let content = &response["content"];
        if let Some(described) = content.get("application/json") {
            match serde_json::from_str(answer) {
                Ok(answer) => {
                    let fits = self.fits(&described["schema"], &answer, "");
                    fits.unwrap_or_else(|why| panic!("{method} {path} {status}: {why}: {answer}"));
                }
                Err(error) => assert!(
                    content.get("text/plain").is_some(),
                    "{method} {path} {status}: {error}: {answer}"
                ),
            }
        }
        let mut answered = self.answered.borrow_mut();
        answered.insert(format!("{method} {path} {status}"));
    }

    /// The operations of the file: their methods and paths.
    pub(crate) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.root["paths"].as_object().expect("paths").iter();
        let operations = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods").keys();
            methods.map(move |method| (method.clone(), path.clone()))
        });
        operations.collect()
    }

    /// The operations that succeeded in no check.
    pub(crate) fn never_answered(&self) -> Vec<String> {
        let answered = self.answered.borrow();
        let mut missing = Vec::new();
        for (method, path) in self.operations() {
            for (status, _) in self.successes(&method, &path) {
                let call = format!("{method} {path} {status}");
                missing.extend((!answered.contains(&call)).then_some(call));
            }
        }
        missing
    }

    /// How an operation answers that succeeds: the statuses, and what is said of them.
    pub(crate) fn successes(&self, method: &str, path: &str) -> Vec<(&str, &Value)> {
        let responses = self.root["paths"][path][method]["responses"].as_object();
        let responses = responses.expect("responses").iter();
        let successes = responses.filter(|(status, _)| status.starts_with('2'));
        successes
            .map(|(status, described)| (status.as_str(), described))
            .collect()
    }

    /// The properties of schemas that no message had.
    pub(crate) fn never_seen(&self) -> Vec<String> {
        let schemas = self.root["components"]["schemas"].as_object();
        let seen = self.seen.borrow();
        let mut missing = Vec::new();
        for (name, schema) in schemas.expect("schemas") {
            missing.extend(properties_of(schema, name));
        }
        missing.retain(|property| !seen.contains(property));
        missing
    }

    fn fits(&self, schema: &Value, value: &Value, name: &str) -> Result<(), String> {
        for (keyword, rule) in schema.as_object().ok_or("no schema")? {
            match keyword.as_str() {
                "$ref" => {
                    let name = rule.as_str().and_then(|path| path.rsplit('/').next());
                    let name = name.expect("a name");
                    let schema = &self.root["components"]["schemas"][name];
                    self.fits(schema, value, name)?;
                }
                "anyOf" => {
                    let mut schemas = rule.as_array().expect("a list").iter();
                    if !schemas.any(|schema| self.fits(schema, value, name).is_ok()) {
                        return Err(format!("{value} is none of them"));
                    }
                }
                "type" => has_type(rule, value)?,
                "enum" if !rule.as_array().expect("a list").contains(value) => {
                    return Err(format!("{value} is none of {rule}"));
                }
                "minimum" if value.as_f64() < rule.as_f64() && !value.is_null() => {
                    return Err(format!("{value} is below {rule}"));
                }
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        self.fits(rule, item, name)?;
                    }
                }
                "required" => {
                    let required = rule.as_array().expect("a list").iter();
                    for property in required.map(|name| name.as_str().expect("a name")) {
                        value
                            .get(property)
                            .ok_or_else(|| format!("{property} is missing"))?;
                    }
                }
                "properties" | "additionalProperties" => {}
                "enum" | "minimum" => {}
                note if NOTES.contains(&note) => {}
                other => panic!("the schema keyword {other} is not checked"),
            }
        }
        self.properties_fit(schema, value, name)
    }

    fn properties_fit(&self, schema: &Value, value: &Value, name: &str) -> Result<(), String> {
        for (property, value) in value.as_object().into_iter().flatten() {
            match schema["properties"].get(property) {
                Some(schema) => {
                    let name = format!("{name}.{property}");
                    self.fits(schema, value, &name)?;
                    self.seen.borrow_mut().insert(name);
                }
                None => match schema.get("additionalProperties") {
                    Some(Value::Bool(false)) => return Err(format!("{property} is unknown")),
                    Some(schema) => self.fits(schema, value, "")?,
                    None => {}
                },
            }
        }
        Ok(())
    }
}

/// The properties of a schema, and of those that stand in it without a name of their own: `Problem.error.code`.
fn properties_of(schema: &Value, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
        let name = format!("{name}.{property}");
        found.extend(properties_of(schema, &name));
        found.extend(properties_of(&schema["items"], &name));
        found.push(name);
    }
    found
}

fn has_type(rule: &Value, value: &Value) -> Result<(), String> {
    let is = |name: &Value| match name.as_str().expect("a name of a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("there is no type {other}"),
    };
    let fits = rule
        .as_array()
        .map_or_else(|| is(rule), |names| names.iter().any(is));
    fits.then_some(())
        .ok_or_else(|| format!("{value} is no {rule}"))
}
