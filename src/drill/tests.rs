//! The task with a real control and a store, on a clock that the test sets.
