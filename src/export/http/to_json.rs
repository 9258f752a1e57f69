//! Values as JSON that cannot fail to serialize.

use serde::Serialize;

const TO_JSON: &str = "the value can be represented in JSON";

pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect(TO_JSON)
}

pub(super) fn append_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect(TO_JSON);
}
