//! Checks of what is written against its JSON Schema, for tests.

use serde_json::Value;

/// Whether `json` follows `schema`, or why not.
pub(crate) fn check(schema: &str, json: &[u8]) -> Result<(), String> {
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    let instance: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let mut compiler = boon::Compiler::new();
    compiler.enable_format_assertions();
    let url = "https://example.com/schema.json";
    compiler.add_resource(url, schema).map_err(|e| e.to_string())?;
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile(url, &mut schemas).map_err(|e| e.to_string())?;
    schemas.validate(&instance, index).map_err(|e| e.to_string())
}
