"""The mathematics of one update: small pure functions that learners compose."""
