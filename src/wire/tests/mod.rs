//! The answers of a small world, as tables: a question in words, the reply in words.

mod abuse;
mod counts;
mod forwarded;
mod names;
mod protocol;
mod robust;
mod services;
mod statics;
mod world;
