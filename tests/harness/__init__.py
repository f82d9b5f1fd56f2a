"""What the end-to-end tests and the demo stand on: private servers, our programs, sample mail, the comparer."""
