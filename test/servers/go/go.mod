module pollux/go_http

go 1.19
