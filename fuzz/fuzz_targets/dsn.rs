#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cadre_fuzz::targets::dsn(data));
