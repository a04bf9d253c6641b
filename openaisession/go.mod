module github.com/encsession/encsession/openaisession

go 1.26.0

replace github.com/encsession/encsession => ../

require (
	github.com/encsession/encsession v0.0.0
	github.com/openai/openai-go/v3 v3.24.0
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/fernet/fernet-go v0.0.0-20240119011108-303da6aec611 // indirect
	github.com/tidwall/gjson v1.18.0 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.1 // indirect
	github.com/tidwall/sjson v1.2.5 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.58.0 // indirect
)
