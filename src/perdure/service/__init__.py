"""Models of a folder over HTTP: taught, asked, corrected and watched. Needs the extra `service`."""
