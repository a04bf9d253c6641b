module github.com/encsession/encsession

go 1.26.0

require (
	github.com/fernet/fernet-go v0.0.0-20240119011108-303da6aec611
	golang.org/x/crypto v0.58.0
)
