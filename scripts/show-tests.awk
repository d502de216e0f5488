# Shows of a `cargo test` run what a reader needs: each binary with its result, failures whole, what was not run.
/^ *Running |^ *Doc-tests / { binary = $0; sub(/^ */, "", binary); sub(/ \(.*\/deps\//, " (", binary); next }
/skipped: |deferred: / { print "  " substr($0, match($0, /skipped: |deferred: /)); fflush(); next }
/^failures:$/ { failing = 1 }
/^successes:$/ { failing = 0 }
/^test .* \.\.\. FAILED/ { print "  " $0; fflush() }
/^test result: / { failing = 0; sub(/^test result: /, ""); print binary ": " $0; fflush(); next }
failing || /^error|^warning: unused|panicked at/ { print "    " $0; fflush() }
