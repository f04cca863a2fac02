//! Tests of encryption at rest: the files one by one here, the engine on them in `engine/tests`.

pub mod nonces;
pub mod shape;
